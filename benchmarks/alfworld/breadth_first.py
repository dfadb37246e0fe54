"""Reference for the oracle: breadth-first search over all commands and states of the engine."""

from collections import deque

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.world import EngineState

Distances = dict[EngineState, int | None]
_CHANGE_NOTHING = ("look", "inventory", "help", "examine ")


def distances(game: Game, start: EngineState, max_states: int) -> Distances | None:
    """The least number of commands to win from each state reachable from ``start``; None: it cannot be won.

    Returns None instead of a dict if there are more than ``max_states`` states. States that differ only in
    `taken`, which `look` uses, count as one; they are returned without it.
    """
    engine = Engine(game)
    start = forgetful(start)
    before: dict[EngineState, list[EngineState]] = {start: []}
    won = []
    queue = deque([start])
    while queue:
        state = queue.popleft()
        engine.set_state(state)
        if engine.won:
            won.append(state)
        for after in _successors(engine, state):
            if after not in before:
                before[after] = []
                queue.append(after)
            before[after].append(state)
        if len(before) > max_states:
            return None
    return _backwards(before, won)


def forgetful(state: EngineState) -> EngineState:
    """The state without `taken`, which affects only the text of `look`."""
    return state._replace(taken=(0,) * len(state.taken))


def _successors(engine: Engine, state: EngineState) -> list[EngineState]:
    engine.set_state(state)
    successors = []
    for command in engine.admissible_commands():
        if not command.startswith(_CHANGE_NOTHING):
            engine.set_state(state)
            engine.step(command)
            successors.append(forgetful(engine.get_state()))
    return successors


def _backwards(before: dict[EngineState, list[EngineState]], won: list[EngineState]) -> Distances:
    distance_of: Distances = dict.fromkeys(before)
    distance_of.update(dict.fromkeys(won, 0))
    queue = deque((state, 0) for state in won)
    while queue:
        state, distance = queue.popleft()
        for earlier in before[state]:
            if distance_of[earlier] is None:
                distance_of[earlier] = distance + 1
                queue.append((earlier, distance + 1))
    return distance_of
