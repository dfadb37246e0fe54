"""Optimal play: how many commands it takes to win at least, and which, from any state of a game."""

from functools import lru_cache
from typing import Protocol

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.oracle_house import Facts, House
from stepopsd_envs.alfworld.oracle_search import shortest_plan
from stepopsd_envs.alfworld.oracle_steps import moves_of
from stepopsd_envs.alfworld.world import PREPARED_GAMES, EngineState

UNWINNABLE = -2
"""The distance of a state from which the game cannot be won any more; -1 is a distance not computed."""

_CACHED_DISTANCES = 500  # of a game, about half a kB each; an episode sees a few dozen


class Playing(Protocol):
    """An engine of any kind."""

    game: Game

    def get_state(self) -> EngineState:
        """The state now."""
        ...


class Oracle:
    """Knows the shortest way to win; it sees everything, also what the agent has not seen yet.

    It speaks of the state that the engine is in when it is asked. The answers are exact, equal to those of
    breadth-first search over all commands. A game that calls two things by one name is refused (ValueError),
    as its commands do not tell them apart; no official game does.
    """

    def __init__(self, engine: Playing) -> None:
        """Look at a game in play."""
        self._engine = engine

    def distance(self) -> int:
        """The least number of commands after which the game is won, 0 when it is; else `UNWINNABLE`."""
        return _solver(self._engine.game).distance(self._engine.get_state())

    def plan(self) -> list[str]:
        """A shortest list of commands that wins; empty when the game is won or cannot be."""
        return _solver(self._engine.game).plan(self._engine.get_state())

    def best_commands(self) -> list[str]:
        """All commands that shortest plans can begin with, sorted; empty when `plan()` is."""
        return _solver(self._engine.game).best_commands(self._engine.get_state())


class _Solver:
    """What is known of one game; all oracles of the game share it."""

    def __init__(self, game: Game) -> None:
        for things in (game.receptacles, game.items):
            names = [thing.name for thing in things]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"two things of game {game.task_id!r} have one name, so that commands do not tell them "
                    "apart; the oracle needs a game whose names differ"
                )
        self._house, self._engine = House(game), Engine(game)
        self._distances: dict[Facts, int] = {}

    def distance(self, state: EngineState) -> int:
        facts = self._house.facts(state)
        distance = self._distances.get(facts)
        if distance is None:
            if len(self._distances) >= _CACHED_DISTANCES:
                self._distances.clear()
            found = shortest_plan(self._house, self._house.situation(facts))
            distance = self._distances[facts] = UNWINNABLE if found is None else found[0]
        return distance

    def plan(self, state: EngineState) -> list[str]:
        house, facts = self._house, self._house.facts(state)
        found = shortest_plan(house, house.situation(facts))
        commands = []
        for before, step in found[1] if found else ():
            for move in moves_of(house, before, step):
                if move.item == facts.held:
                    move = move._replace(item=state.held)  # facts may name another item that matters alike
                commands.append(self._engine.command(move))
        return commands

    def best_commands(self, state: EngineState) -> list[str]:
        engine, distance = self._engine, self.distance(state)
        best = []
        engine.set_state(state)
        for command in engine.admissible_commands() if distance > 0 else ():
            engine.set_state(state)
            engine.step(command)
            if self.distance(engine.get_state()) == distance - 1:
                best.append(command)
        return best


@lru_cache(maxsize=PREPARED_GAMES)
def _solver(game: Game) -> _Solver:
    return _Solver(game)
