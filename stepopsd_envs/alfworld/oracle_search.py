"""Best-first search (A*) for a shortest plan over all bindings of the goal."""

from heapq import heappop, heappush

from stepopsd_envs.alfworld.oracle_bindings import goal_bindings
from stepopsd_envs.alfworld.oracle_house import House, Situation
from stepopsd_envs.alfworld.oracle_steps import Step

_Node = tuple[int, Situation]  # index of a binding, and a situation
_Known = dict[_Node, tuple[int, Situation | None, Step | None]]  # fewest commands; predecessor and its step

Plan = list[tuple[Situation, Step]]
"""Steps, each with the situation before it."""


def shortest_plan(house: House, start: Situation) -> tuple[int, Plan] | None:
    """The number of commands and the steps of a shortest plan; None if the game can no longer be won."""
    bindings = list(goal_bindings(house, start))
    known: _Known = {}
    queue: list[
        tuple[int, int, int, int, Situation]
    ] = []  # bound of the whole plan, -commands, tie-break, node

    def note(index: int, at: Situation, commands: int, before: Situation | None, step: Step | None) -> None:
        left = bindings[index].bound(at)
        if left is not None:
            known[index, at] = (commands, before, step)
            heappush(queue, (commands + left, -commands, len(known), index, at))

    for index in range(len(bindings)):
        note(index, start, 0, None, None)
    while queue:
        total, commands, _, index, now = heappop(queue)
        commands = -commands
        if commands > known[index, now][0]:
            continue  # a shorter path to this node was found meanwhile
        if commands == total:
            return total, _trace(known, index, now)
        for option in bindings[index].options(now):
            after, then = option.after, commands + option.commands
            if (index, after) not in known or then < known[index, after][0]:
                note(index, after, then, now, option.step)
    return None


def _trace(known: _Known, index: int, now: Situation) -> Plan:
    plan: Plan = []
    _, before, step = known[index, now]
    while before is not None and step is not None:
        plan.append((before, step))
        _, before, step = known[index, before]
    return plan[::-1]
