"""The native engine: same texts, admissible commands and `won` as TextWorld on the official game files.

This module changes the world; the game's wording produces the texts. TextWorld's peculiarities are kept: the
agent cannot go to the place where it already is; only a held item can be examined; switching, slicing,
cleaning, heating and cooling ignore whether a receptacle is open; a lamp that was switched on stays on; play
continues after the game is won.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.moves import Move, MoveFinder
from stepopsd_envs.alfworld.queries import Bindings
from stepopsd_envs.alfworld.templates import Texts, compile_wording
from stepopsd_envs.alfworld.winning import Win
from stepopsd_envs.alfworld.world import PREPARED_GAMES, EngineState, World, state_hash, things_text

NOTHING_HAPPENS = "Nothing happens."


class Engine:
    """A game in play. `step` accepts any string; only `set_state` raises, for a state of another game."""

    def __init__(self, game: Game) -> None:
        """Prepare a game; call `reset()` to begin."""
        self.game = game
        self._world = World(game)
        self._prepared = _prepare(game)
        self._moves: dict[str, Move] | None = None  # admissible now; None: not computed yet
        self._things: str | None = None  # things_text of the state; None: not computed yet

    def __getstate__(self) -> tuple[Game, EngineState]:
        """Game and state, for pickling and copying; the compiled texts are made again."""
        return self.game, self.get_state()

    def __setstate__(self, kept: tuple[Game, EngineState]) -> None:
        """Restore the state of the pickled engine."""
        game, state = kept
        self.__init__(game)  # type: ignore[misc]  # unpickling creates the instance without __init__
        self.set_state(state)

    def reset(self) -> str:
        """Return to the start; return the opening text with the room and the task."""
        self._restore(self._world.initial)
        return self._prepared.opening

    def step(self, command: str) -> str:
        """Execute a command and return its feedback. A command that is not admissible changes nothing."""
        move = self._possible().get(command.strip())
        if move is None:
            return NOTHING_HAPPENS
        bindings = _bindings(self._world, move)
        effect = _EFFECTS.get(move.action)
        if effect:
            effect(self._world, move)
            self._moves = None
            if move.action in _MOVING_ITEMS:
                self._things = None
        return self._prepared.texts.feedback[move.action](self._world, bindings)

    @property
    def won(self) -> bool:
        """Whether the goal holds now; a later command may undo it."""
        return self._prepared.win.holds(self._world)

    def admissible_commands(self) -> list[str]:
        """All commands that are admissible now, sorted, as a new list."""
        return list(self._possible())

    def command(self, move: Move) -> str:
        """The command for a move, whether or not it is admissible now."""
        return self._prepared.texts.commands[move.action](self._world, _bindings(self._world, move))

    def get_state(self) -> EngineState:
        """The current state: small, hashable, picklable; `list(state)` consists of JSON types."""
        return self._world.state()

    def set_state(self, state: EngineState) -> None:
        """Continue from a state of the same game.

        Raises:
            ValueError: the state does not fit this game.
        """
        self._world.check(state)
        self._restore(state)

    def state_hash(self) -> str:
        """Hash of the current state, 16 hexadecimal digits, independent of how the state was reached."""
        if self._things is None:
            self._things = things_text(self._world)
        return state_hash(self._world, self._things)

    def _restore(self, state: EngineState) -> None:
        self._world.restore(state)
        self._moves = self._things = None

    def _possible(self) -> dict[str, Move]:
        if self._moves is None:
            self._moves = self._prepared.finder.moves(self._world)
        return self._moves


class _Prepared(NamedTuple):
    """Constant parts of a game, shared by all its engines."""

    texts: Texts
    opening: str
    win: Win
    finder: MoveFinder


@lru_cache(maxsize=PREPARED_GAMES)
def _prepare(game: Game) -> _Prepared:
    texts = compile_wording(game.wording)

    def command_of(world: World, move: Move) -> str:
        return texts.commands[move.action](world, _bindings(world, move))

    return _Prepared(texts, texts.opening(World(game), {}), Win(game), MoveFinder(game, command_of))


def _bindings(world: World, move: Move) -> Bindings:
    """The variables that templates may name; templates never use a variable that their action lacks."""
    place = world.location
    end = world.place_of[move.receptacle] if move.action == "GotoLocation" else place
    things = {"o": move.item, "r": move.receptacle, "co": move.item, "ko": move.tool}
    return {"a": 0, "l": place, "lstart": place, "lend": end, **things}


def _go(world: World, move: Move) -> None:
    world.location = world.place_of[move.receptacle]


def _open(world: World, move: Move) -> None:
    world.opened |= 1 << move.receptacle


def _close(world: World, move: Move) -> None:
    world.opened &= ~(1 << move.receptacle)


def _take(world: World, move: Move) -> None:
    item = 1 << move.item
    world.contents[move.receptacle] &= ~item
    world.taken[move.receptacle] |= item
    world.present[world.location] &= ~item
    world.held = move.item


def _put(world: World, move: Move) -> None:
    item = 1 << move.item
    world.contents[move.receptacle] |= item
    world.taken[move.receptacle] &= ~item
    world.present[world.location] |= item
    world.held = -1


def _clean(world: World, move: Move) -> None:
    world.clean |= 1 << move.item


def _heat(world: World, move: Move) -> None:
    world.hot |= 1 << move.item
    world.cool &= ~(1 << move.item)


def _cool(world: World, move: Move) -> None:
    world.cool |= 1 << move.item
    world.hot &= ~(1 << move.item)


def _toggle(world: World, move: Move) -> None:
    world.toggled |= 1 << move.item


def _slice(world: World, move: Move) -> None:
    world.sliced |= 1 << move.item


_EFFECTS: dict[str, Callable[[World, Move], None]] = {
    "GotoLocation": _go,
    "OpenObject": _open,
    "CloseObject": _close,
    "PickupObject": _take,
    "PutObject": _put,
    "CleanObject": _clean,
    "HeatObject": _heat,
    "CoolObject": _cool,
    "ToggleObject": _toggle,
    "SliceObject": _slice,
}

_MOVING_ITEMS = frozenset({"PickupObject", "PutObject"})
