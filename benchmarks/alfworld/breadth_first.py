"""The reference for the oracle: breadth-first search over all commands and states of the real engine."""

from collections import deque

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.world import EngineState

Distances = dict[EngineState, int | None]
_CHANGE_NOTHING = ("look", "inventory", "help", "examine ")


def distances(game: Game, start: EngineState, max_states: int) -> Distances | None:
    """The least number of commands to win from each state that ``start`` leads to; None: it cannot be won.

    None in place of it all when there are more states than ``max_states``. States that differ only in what
    `look` remembers of things taken are one, given without that memory.
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
    """The state without what `look` remembers, on which nothing but its text depends."""
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
    found: Distances = dict.fromkeys(before)
    found.update(dict.fromkeys(won, 0))
    queue = deque((state, 0) for state in won)
    while queue:
        state, distance = queue.popleft()
        for earlier in before[state]:
            if found[earlier] is None:
                found[earlier] = distance + 1
                queue.append((earlier, distance + 1))
    return found
