"""How far the goal is in the terms of a task's form: what attempts at other tasks of the form tell.

An attempt at "put a clean mug in the desk" shows how any object is cleaned and put anywhere. The lifted
worlds (`tasks.Lifted`) of all attempts at a form, of this update and of earlier ones, are the nodes of one
graph. Its edges are the steps that attempts took; and a world that has all the facts of another and more
counts as at least as good (`no_worse`). The distance of a world to one where a successful attempt ended is
known for attempts at tasks that nobody has solved yet.

Commands are not generalised to other worlds, as they are within a group (`inferred`): things with the same
role differ in what can be done with them, so "take the object" would seem to work where there is none.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from stepopsd_agent.learner.inferred_transitions import no_worse
from stepopsd_agent.tasks import Lifted, World

UNKNOWN = -1
"""Distance of a world from which no known path leads to a goal."""
Attempt = tuple[Lifted | None, bool]
"""An episode in the terms of its task, None where its task spec tells none, and whether it succeeded."""


@dataclass
class _Form:
    """All that attempts at the tasks of one form showed; dictionaries, since these keep their order.

    A world counts as a goal if most attempts that were there had thereby succeeded. Some official games are
    won while the object is still in hand, as it began in two receptacles; other attempts pass such a world.
    """

    worlds: Counter[World] = field(default_factory=Counter)
    """Attempts that were there."""
    taken: dict[tuple[World, World], None] = field(default_factory=dict)
    won: Counter[World] = field(default_factory=Counter)
    """Attempts whose success was there."""

    def add(self, told: Lifted, won: bool) -> None:
        self.worlds.update(dict.fromkeys(told.worlds, 1))
        steps = (step for step in pairwise(told.worlds) if step[0] != step[1])
        self.taken.update(dict.fromkeys(steps))
        if won:
            self.won[told.worlds[-1]] += 1

    def copy(self) -> "_Form":
        return _Form(self.worlds.copy(), dict(self.taken), self.won.copy())

    def distances(self) -> dict[World, int]:
        """Fewest steps to a goal from every world with a path to one."""
        back = defaultdict[World, list[tuple[World, int]]](list)
        for before, after in self.taken:
            back[after].append((before, 1))
        for better, world in no_worse(self.worlds):
            back[world].append((better, 0))
        found: dict[World, int] = {}
        goals = (world for world, times in self.won.items() if 2 * times > self.worlds[world])
        waiting = deque((goal, 0) for goal in goals)  # nearest first: lengths are 0 and 1
        while waiting:
            world, steps = waiting.popleft()
            if world not in found:
                found[world] = steps
                for before, length in back[world]:
                    (waiting.append if length else waiting.appendleft)((before, steps + length))
        return found


class LiftedPlans:
    """The graphs of all forms of tasks, over the updates so far.

    They are small: 4,608 attempts at official ALFWorld games have 19 to 67 worlds for each of six forms.
    """

    def __init__(self) -> None:
        """Begin without a past."""
        self._forms = defaultdict[str, _Form](_Form)

    def distances(self, attempts: Sequence[Attempt]) -> list[list[int]]:
        """The distance to a goal after each record of these attempts, `UNKNOWN` where no path is known.

        Known are the attempts that were added, and these. Of an attempt without terms there is an empty list.
        """
        forms = dict.fromkeys(told.form for told, _ in attempts if told is not None)
        graphs = {form: self._forms[form].copy() if form in self._forms else _Form() for form in forms}
        for told, won in attempts:
            if told is not None:
                graphs[told.form].add(told, won)
        known = {form: graph.distances() for form, graph in graphs.items()}
        return [
            [] if told is None else [known[told.form].get(world, UNKNOWN) for world in told.worlds]
            for told, _ in attempts
        ]

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Learn of an update."""
        for told, won in attempts:
            if told is not None:
                self._forms[told.form].add(told, won)

    def state(self) -> dict[str, Any]:
        """For a checkpoint, JSON-able: worlds are numbered in their order."""
        return {form: _state(graph) for form, graph in self._forms.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._forms = defaultdict(_Form, {form: _restored(kept) for form, kept in state.items()})


def _state(graph: _Form) -> dict[str, Any]:
    number = {world: place for place, world in enumerate(graph.worlds)}
    return {
        "worlds": [[sorted(world), times] for world, times in graph.worlds.items()],
        "taken": [[number[before], number[after]] for before, after in graph.taken],
        "won": [[number[world], times] for world, times in graph.won.items()],
    }


def _restored(state: Mapping[str, Any]) -> _Form:
    visits = {frozenset(facts): times for facts, times in state["worlds"]}
    worlds = list(visits)
    taken = [(worlds[before], worlds[after]) for before, after in state["taken"]]
    won = {worlds[place]: times for place, times in state["won"]}
    return _Form(Counter(visits), dict.fromkeys(taken), Counter(won))
