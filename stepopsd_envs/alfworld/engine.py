"""Plays a game: the same texts, admissible commands and `won` as TextWorld on the official files.

What is done to the world stands here; how it is told stands in the game's wording. TextWorld's peculiarities
are kept: a place cannot be gone to from itself; only a held item can be examined; switching, slicing,
cleaning, heating and cooling do not ask whether a receptacle is open; a lamp once switched on stays on; play
goes on after the game is won.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.queries import Bindings
from stepopsd_envs.alfworld.templates import compile_wording
from stepopsd_envs.alfworld.world import EngineState, World, bits, mask

NOTHING_HAPPENS = "Nothing happens."

_CACHED_SITUATIONS = 1_000  # about 7 kB each; an episode sees a few dozen


class Move(NamedTuple):
    """An action and the numbers of the things it is about; `tool` is the item that slices another."""

    action: str
    receptacle: int = -1
    item: int = -1
    tool: int = -1


class Engine:
    """One game in play. `step` takes any string; only `set_state` raises, for a state of another game."""

    def __init__(self, game: Game) -> None:
        """Prepare a game; call `reset()` to begin."""
        self.game = game
        self._world = World(game)
        self._texts = compile_wording(game.wording)
        self._win = _Win(game)
        self._kinds = _kinds(game)
        self._commands: dict[Move, str] = {}
        self._situations: dict[tuple[int, ...], dict[str, Move]] = {}

    def __getstate__(self) -> tuple[Game, EngineState]:
        """What pickling and copying keep; compiled texts are made again."""
        return self.game, self.get_state()

    def __setstate__(self, kept: tuple[Game, EngineState]) -> None:
        """Continue where the pickled engine stood."""
        game, state = kept
        self.__init__(game)  # type: ignore[misc]  # a fresh instance without __init__ is what unpickling gives
        self.set_state(state)

    def reset(self) -> str:
        """Start again from the beginning; the opening text with the room and the task."""
        self._world.restore(self._world.initial)
        return self._texts.opening(self._world, {})

    def step(self, command: str) -> str:
        """Carry out a command; the feedback. A command that is not admissible changes nothing."""
        move = self._moves().get(command.strip())
        if move is None:
            return NOTHING_HAPPENS
        bindings = self._bindings(move)
        effect = _EFFECTS.get(move.action)
        if effect:
            effect(self._world, move)
        return self._texts.feedback[move.action](self._world, bindings)

    @property
    def won(self) -> bool:
        """Whether the goal holds now; it may cease to hold later."""
        return self._win.holds(self._world)

    def admissible_commands(self) -> list[str]:
        """All commands that do something now, sorted; a fresh list."""
        return list(self._moves())

    def get_state(self) -> EngineState:
        """The state now: small, hashable, picklable; `list(state)` is JSON."""
        return self._world.state()

    def set_state(self, state: EngineState) -> None:
        """Continue from a state of the same game; raises ValueError for another game's."""
        self._world.check(state)
        self._world.restore(state)

    def state_hash(self) -> str:
        """Hash of the state alone: equal for equal states, however they were reached."""
        return blake2b(repr(tuple(self._world.state())).encode(), digest_size=8).hexdigest()

    def _moves(self) -> dict[str, Move]:
        """The admissible commands in sorted order; remembered for all that they depend on."""
        world = self._world
        here = world.receptacles_at[world.location]
        contents = [world.contents[receptacle] for receptacle in bits(here)]
        opened = world.opened if self.game.rules.one_open else world.opened & here
        key = (world.location, world.held, opened, world.present[world.location], *contents)
        moves = self._situations.get(key)
        if moves is None:
            if len(self._situations) >= _CACHED_SITUATIONS:
                self._situations.clear()
            commands = {self._command(move): move for move in reversed(list(self._possible_moves()))}
            moves = self._situations[key] = dict(sorted(commands.items()))
        return moves

    def _command(self, move: Move) -> str:
        command = self._commands.get(move)
        if command is None:
            command = self._texts.commands[move.action](self._world, self._bindings(move))
            self._commands[move] = command
        return command

    def _bindings(self, move: Move) -> Bindings:
        """The variables that templates may name; those that an action does not have are never asked for."""
        place = self._world.location
        end = self._world.place_of[move.receptacle] if move.action == "GotoLocation" else place
        things = {"o": move.item, "r": move.receptacle, "co": move.item, "ko": move.tool}
        return {"a": 0, "l": place, "lstart": place, "lend": end, **things}

    def _possible_moves(self) -> Iterator[Move]:
        world = self._world
        yield Move("look")
        yield Move("inventory")
        if self.game.rules.help:
            yield Move("help")
        for receptacle, place in enumerate(world.place_of):
            if place != world.location:
                yield Move("GotoLocation", receptacle)
        for receptacle in bits(world.receptacles_at[world.location]):
            yield from self._moves_with_receptacle(receptacle)
        if self.game.rules.toggle_by_location:
            for item in bits(world.present[world.location] & world.fixed["toggleable"]):
                yield Move("ToggleObject", item=item)
        if world.held >= 0:
            yield Move("examineObject", item=world.held)
            if self._kinds.slices >> world.held & 1:
                for item in bits(world.present[world.location] & world.fixed["sliceable"]):
                    yield Move("SliceObject", item=item, tool=world.held)

    def _moves_with_receptacle(self, receptacle: int) -> Iterator[Move]:
        world, rules, contents = self._world, self.game.rules, self._world.contents[receptacle]
        openable, opened = world.fixed["openable"] >> receptacle & 1, world.opened >> receptacle & 1
        yield Move("examineReceptacle", receptacle)
        if openable and not (world.opened if rules.one_open else opened):
            yield Move("OpenObject", receptacle)
        if openable and opened:
            yield Move("CloseObject", receptacle)
        if not rules.toggle_by_location:
            for item in bits(contents & world.fixed["toggleable"]):
                yield Move("ToggleObject", item=item)
        accessible = opened or not openable
        if world.held >= 0:
            yield from self._moves_with_held(receptacle, bool(accessible))
        elif accessible:
            for item in bits(contents & world.fixed["pickupable"]):
                yield Move("PickupObject", receptacle, item)

    def _moves_with_held(self, receptacle: int, accessible: bool) -> Iterator[Move]:
        held, fixed, kinds = self._world.held, self._world.fixed, self._kinds
        if accessible and kinds.fitting[receptacle] >> held & 1:
            yield Move("PutObject", receptacle, held)
        for action, receptacles, able in (
            ("CleanObject", kinds.cleans, "cleanable"),
            ("HeatObject", kinds.heats, "heatable"),
            ("CoolObject", kinds.cools, "coolable"),
        ):
            if receptacles >> receptacle & 1 and fixed[able] >> held & 1:
                yield Move(action, receptacle, held)


class _Kinds(NamedTuple):
    """Masks by type: receptacles that clean, heat, cool; items that slice; per receptacle, items that fit."""

    cleans: int
    heats: int
    cools: int
    slices: int
    fitting: tuple[int, ...]


def _kinds(game: Game) -> _Kinds:
    rules, receptacles, items = game.rules, list(enumerate(game.receptacles)), list(enumerate(game.items))
    return _Kinds(
        cleans=mask(r for r, receptacle in receptacles if receptacle.type in rules.clean_in),
        heats=mask(r for r, receptacle in receptacles if receptacle.type in rules.heat_in),
        cools=mask(r for r, receptacle in receptacles if receptacle.type in rules.cool_in),
        slices=mask(i for i, item in items if item.type in rules.slice_with),
        fitting=tuple(
            mask(i for i, item in items if (receptacle.type, item.type) in game.can_contain)
            for receptacle in game.receptacles
        ),
    )


class _Win:
    """The goal of a game, as masks."""

    def __init__(self, game: Game) -> None:
        win, items = game.win, list(enumerate(game.items))
        self._count, self._all_closed, self._in_light = win.count, win.all_closed, bool(win.lamp_type)
        self._items = mask(i for i, item in items if item.type == win.item_type)
        self._lamps = mask(i for i, item in items if item.type == win.lamp_type and item.toggleable)
        self._places = tuple(
            r for r, place in enumerate(game.receptacles) if place.type == win.receptacle_type
        )
        able = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}
        self._states = tuple((state, able[state]) for state in win.states)

    def holds(self, world: World) -> bool:
        """Whether the goal holds."""
        if self._all_closed and world.opened:
            return False
        if self._in_light:
            return self._lit(world)
        items = self._items
        of_state = {"clean": world.clean, "hot": world.hot, "cool": world.cool, "sliced": world.sliced}
        for state, able in self._states:
            items &= of_state[state] & world.fixed[able]
        return any((world.contents[place] & items).bit_count() >= self._count for place in self._places)

    def _lit(self, world: World) -> bool:
        if world.held < 0 or not self._items >> world.held & 1:
            return False
        lamps = self._lamps & world.toggled
        return any(
            world.contents[receptacle] & lamps for receptacle in bits(world.receptacles_at[world.location])
        )


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
