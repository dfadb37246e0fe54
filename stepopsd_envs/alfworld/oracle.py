"""Optimal play: the least number of commands to win from any state of a game, and such a plan."""

from functools import lru_cache
from typing import Protocol

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.oracle_house import Facts, House
from stepopsd_envs.alfworld.oracle_search import shortest_plan
from stepopsd_envs.alfworld.oracle_steps import moves_of
from stepopsd_envs.alfworld.world import PREPARED_GAMES, EngineState

UNWINNABLE = -2
"""The distance of a state from which the game can no longer be won; -1 is a distance not computed."""

_CACHED_DISTANCES = 500  # per game, about half a kB each; an episode has a few dozen


class Playing(Protocol):
    """The part of an engine that the oracle uses."""

    game: Game

    def get_state(self) -> EngineState:
        """The current state."""
        ...


class Oracle:
    """Computes shortest plans from the full state, including things that the agent has not seen.

    Every call refers to the current state of the engine. The results are exact: they equal those of
    breadth-first search over all commands.

    Every method raises ValueError for a game in which two things have the same name, since its commands are
    then ambiguous; no official game has this.
    """

    def __init__(self, engine: Playing) -> None:
        """Use the game and the current state of ``engine``."""
        self._engine = engine

    def distance(self) -> int:
        """The least number of commands to win, 0 if the game is won, `UNWINNABLE` if it cannot be won."""
        return _solver(self._engine.game).distance(self._engine.get_state())

    def plan(self) -> list[str]:
        """A shortest list of commands that wins; empty if the game is won or cannot be won."""
        return _solver(self._engine.game).plan(self._engine.get_state())

    def best_commands(self) -> list[str]:
        """All first commands of shortest plans, sorted; empty if `plan()` is empty."""
        return _solver(self._engine.game).best_commands(self._engine.get_state())


class _Solver:
    """Tables and cached distances of one game, shared by all its oracles."""

    def __init__(self, game: Game) -> None:
        for things in (game.receptacles, game.items):
            names = [thing.name for thing in things]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"two things of game {game.task_id!r} have the same name, so its commands are ambiguous; "
                    "the oracle needs a game whose names differ"
                )
        self._house, self._engine = House(game), Engine(game)
        self._distances: dict[Facts, int] = {}

    def distance(self, state: EngineState) -> int:
        facts = self._house.facts(state)
        distance = self._distances.get(facts)
        if distance is None:
            if len(self._distances) >= _CACHED_DISTANCES:
                self._distances.clear()
            plan = shortest_plan(self._house, self._house.situation(facts))
            distance = self._distances[facts] = UNWINNABLE if plan is None else plan[0]
        return distance

    def plan(self, state: EngineState) -> list[str]:
        house, facts = self._house, self._house.facts(state)
        plan = shortest_plan(house, house.situation(facts))
        commands = []
        for before, step in plan[1] if plan else ():
            for move in moves_of(house, before, step):
                if move.item == facts.held:
                    move = move._replace(item=state.held)  # facts may name another, equivalent item
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
