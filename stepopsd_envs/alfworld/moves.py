"""The admissible commands in a household, each with the move that it stands for."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.world import World, bits, mask

_KEPT_COMMANDS = 1_000  # per game; about 200 bytes each; an episode uses a few hundred


class Move(NamedTuple):
    """An action and the indices of its arguments, -1 for none; `tool` is the item that slices another."""

    action: str
    receptacle: int = -1
    item: int = -1
    tool: int = -1


class MoveFinder:
    """Finds the admissible moves of one game; all engines of the game share it."""

    def __init__(self, game: Game, command_of: Callable[[World, Move], str]) -> None:
        """Prepare a game; ``command_of`` gives the command of a move."""
        self._rules, self._kinds, self._command_of = game.rules, kinds_of(game), command_of
        self._commands: dict[Move, str] = {}
        self._travels: dict[int, dict[str, Move]] = {}  # per place, sorted: most of the moves possible there

    def moves(self, world: World) -> dict[str, Move]:
        """The admissible commands in sorted order; of moves with the same command the first counts."""
        if world.location not in self._travels:
            travels = self._by_command(world, {}, self._moves_anywhere(world))
            self._travels[world.location] = dict(sorted(travels.items()))
        moves = self._by_command(world, self._travels[world.location].copy(), self._moves_here(world))
        return {command: moves[command] for command in sorted(moves)}

    def _by_command(self, world: World, known: dict[str, Move], moves: Iterator[Move]) -> dict[str, Move]:
        commands = self._commands
        for move in moves:
            command = commands.get(move)
            if command is None:
                if len(commands) >= _KEPT_COMMANDS:
                    commands.clear()
                command = commands[move] = self._command_of(world, move)
            known.setdefault(command, move)
        return known

    def _moves_anywhere(self, world: World) -> Iterator[Move]:
        """Moves that depend only on the agent's place."""
        yield Move("look")
        yield Move("inventory")
        if self._rules.help:
            yield Move("help")
        for receptacle, place in enumerate(world.place_of):
            if place != world.location:
                yield Move("GotoLocation", receptacle)

    def _moves_here(self, world: World) -> Iterator[Move]:
        for receptacle in bits(world.receptacles_at[world.location]):
            yield from self._moves_with_receptacle(world, receptacle)
        if self._rules.toggle_by_location:
            for item in bits(world.present[world.location] & world.fixed["toggleable"]):
                yield Move("ToggleObject", item=item)
        if world.held >= 0:
            yield Move("examineObject", item=world.held)
            if self._kinds.slices >> world.held & 1:
                for item in bits(world.present[world.location] & world.fixed["sliceable"]):
                    yield Move("SliceObject", item=item, tool=world.held)

    def _moves_with_receptacle(self, world: World, receptacle: int) -> Iterator[Move]:
        rules, contents = self._rules, world.contents[receptacle]
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
            yield from self._moves_with_held(world, receptacle, bool(accessible))
        elif accessible:
            for item in bits(contents & world.fixed["pickupable"]):
                yield Move("PickupObject", receptacle, item)

    def _moves_with_held(self, world: World, receptacle: int, accessible: bool) -> Iterator[Move]:
        held, fixed, kinds = world.held, world.fixed, self._kinds
        if accessible and kinds.fitting[receptacle] >> held & 1:
            yield Move("PutObject", receptacle, held)
        for action, receptacles, able in (
            ("CleanObject", kinds.cleans, "cleanable"),
            ("HeatObject", kinds.heats, "heatable"),
            ("CoolObject", kinds.cools, "coolable"),
        ):
            if receptacles >> receptacle & 1 and fixed[able] >> held & 1:
                yield Move(action, receptacle, held)


class Kinds(NamedTuple):
    """Masks: receptacles that clean, heat or cool; items that slice; per receptacle, items that fit."""

    cleans: int
    heats: int
    cools: int
    slices: int
    fitting: tuple[int, ...]


def kinds_of(game: Game) -> Kinds:
    """The masks of a game."""
    rules, receptacles, items = game.rules, list(enumerate(game.receptacles)), list(enumerate(game.items))
    return Kinds(
        cleans=mask(r for r, receptacle in receptacles if receptacle.type in rules.clean_in),
        heats=mask(r for r, receptacle in receptacles if receptacle.type in rules.heat_in),
        cools=mask(r for r, receptacle in receptacles if receptacle.type in rules.cool_in),
        slices=mask(i for i, item in items if item.type in rules.slice_with),
        fitting=tuple(
            mask(i for i, item in items if (receptacle.type, item.type) in game.can_contain)
            for receptacle in game.receptacles
        ),
    )
