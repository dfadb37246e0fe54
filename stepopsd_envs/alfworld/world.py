"""The state of a household as bit masks, and the properties and relations that texts may query.

Items, receptacles and places have the indices of the game; bit i of a mask stands for index i. So the bits of
a mask, lowest first, are in the order in which texts list things.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from stepopsd_envs.alfworld.model import Game

PREPARED_GAMES = 256  # number of games with cached tables, for all engines of a process together


class EngineState(NamedTuple):
    """Everything that changes during play.

    `list(state)` consists of JSON types; `EngineState.from_json` reads it back.

    Attributes:
        location: place of the agent.
        held: the item in the hand, -1 if none.
        opened: mask of open receptacles.
        contents: per receptacle, mask of the items in it.
        taken: per receptacle, mask of the items taken out and not put back; `look` may mention them.
        present: per place, mask of the items at it.
        clean, hot, cool, sliced, toggled: masks of the items with this state.
    """

    location: int
    held: int
    opened: int
    contents: tuple[int, ...]
    taken: tuple[int, ...]
    present: tuple[int, ...]
    clean: int
    hot: int
    cool: int
    sliced: int
    toggled: int

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> "EngineState":
        """The state from `list(state)` after a round trip through JSON."""
        location, held, opened, contents, taken, present, *of_items = values
        return cls(location, held, opened, tuple(contents), tuple(taken), tuple(present), *of_items)


class World:
    """A household in play: the engine changes its masks and lists, the compiled texts read them."""

    def __init__(self, game: Game) -> None:
        """Set up the start of a game."""
        self.game = game
        numbered = _numbered(game)
        self.names: dict[str, tuple[str, ...]] = numbered.names
        self.fixed: dict[str, int] = numbered.fixed
        self.place_of: tuple[int, ...] = numbered.place_of
        self.receptacles_at: tuple[int, ...] = numbered.receptacles_at
        self.vessel_contents: tuple[int, ...] = numbered.vessel_contents
        self.initial: EngineState = numbered.initial
        self.restore(numbered.initial)

    def restore(self, state: EngineState) -> None:
        """Continue from a state of the same game."""
        self.location, self.held, self.opened = state.location, state.held, state.opened
        self.contents, self.taken, self.present = list(state.contents), list(state.taken), list(state.present)
        self.clean, self.hot, self.cool = state.clean, state.hot, state.cool
        self.sliced, self.toggled = state.sliced, state.toggled

    def state(self) -> EngineState:
        """The current state."""
        per_receptacle = (tuple(self.contents), tuple(self.taken))
        of_items = (self.clean, self.hot, self.cool, self.sliced, self.toggled)
        return EngineState(
            self.location, self.held, self.opened, *per_receptacle, tuple(self.present), *of_items
        )

    def check(self, state: EngineState) -> None:
        """Raise ValueError if the state does not fit this game."""
        items, places, receptacles = len(self.game.items), len(self.receptacles_at), len(self.place_of)
        masks = (*state.contents, *state.taken, *state.present, *state[6:])
        sizes = (len(state.contents), len(state.taken), len(state.present)) == (
            receptacles,
            receptacles,
            places,
        )
        scalars = (
            0 <= state.location < places and -1 <= state.held < items and 0 <= state.opened < 1 << receptacles
        )
        if not (sizes and scalars and all(0 <= value < 1 << items for value in masks)):
            raise ValueError(
                f"this state does not fit the items, receptacles and places of game {self.game.task_id!r}; "
                "pass a state that get_state() returned for the same game"
            )


def mask(numbers: Iterable[int]) -> int:
    """The mask in which exactly these bits are set."""
    value = 0
    for number in numbers:
        value |= 1 << number
    return value


def bits(value: int) -> Iterator[int]:
    """The indices of the set bits, in rising order."""
    while value:
        low = value & -value
        yield low.bit_length() - 1
        value ^= low


def state_hash(state: EngineState | World, things: str | None = None) -> str:
    """Hash of a state, 16 hexadecimal digits, over the ``repr`` of ``tuple(state)``.

    Args:
        state: the state.
        things: ``things_text(state)`` if known. It is most of the text to hash, and most commands do not
            change it.
    """
    text = (
        f"({state.location}, {state.held}, {state.opened}, {things or things_text(state)}, "
        f"{state.clean}, {state.hot}, {state.cool}, {state.sliced}, {state.toggled})"
    )
    return blake2b(text.encode(), digest_size=8).hexdigest()


def things_text(state: EngineState | World) -> str:
    """The positions of the items in a state, as text."""
    return f"{tuple(state.contents)}, {tuple(state.taken)}, {tuple(state.present)}"


class _Numbered(NamedTuple):
    """Constant tables of a game, shared by all its worlds."""

    names: dict[str, tuple[str, ...]]
    place_of: tuple[int, ...]
    receptacles_at: tuple[int, ...]
    fixed: dict[str, int]
    vessel_contents: tuple[int, ...]
    initial: EngineState


@lru_cache(maxsize=PREPARED_GAMES)
def _numbered(game: Game) -> _Numbered:
    names = {
        "agent": ("agent1",),
        "location": game.location_names,
        "receptacle": tuple(receptacle.name for receptacle in game.receptacles),
        "object": tuple(item.name for item in game.items),
    }
    place_of = tuple(receptacle.location for receptacle in game.receptacles)
    places = range(len(game.location_names))
    receptacles_at = tuple(mask(r for r, at in enumerate(place_of) if at == place) for place in places)
    vessel_contents = tuple(mask(item.contents) for item in game.items)
    return _Numbered(
        names, place_of, receptacles_at, _fixed_masks(game), vessel_contents, _initial_state(game)
    )


def _fixed_masks(game: Game) -> dict[str, int]:
    items = list(enumerate(game.items))
    return {
        "openable": mask(r for r, receptacle in enumerate(game.receptacles) if receptacle.openable),
        "pickupable": mask(i for i, item in items if item.pickupable),
        "cleanable": mask(i for i, item in items if item.cleanable),
        "heatable": mask(i for i, item in items if item.heatable),
        "coolable": mask(i for i, item in items if item.coolable),
        "sliceable": mask(i for i, item in items if item.sliceable),
        "toggleable": mask(i for i, item in items if item.toggleable),
        "isreceptacleobject": mask(i for i, item in items if item.vessel),
    }


def _initial_state(game: Game) -> EngineState:
    items = list(enumerate(game.items))
    receptacles, places = range(len(game.receptacles)), range(len(game.location_names))
    return EngineState(
        location=game.start_location,
        held=-1,
        opened=mask(r for r, receptacle in enumerate(game.receptacles) if receptacle.opened),
        contents=tuple(mask(i for i, item in items if r in item.receptacles) for r in receptacles),
        taken=(0,) * len(receptacles),
        present=tuple(mask(i for i, item in items if place in item.locations) for place in places),
        clean=mask(i for i, item in items if item.clean),
        hot=mask(i for i, item in items if item.hot),
        cool=mask(i for i, item in items if item.cool),
        sliced=mask(i for i, item in items if item.sliced),
        toggled=mask(i for i, item in items if item.toggled),
    )


class Unary(NamedTuple):
    """A property: the type of the things that may have it, and the mask of the things that have it."""

    type: str
    members: Callable[[World], int]


class Binary(NamedTuple):
    """A relation: the types of its two sides, and the mask of partners of a given thing on either side."""

    types: tuple[str, str]
    firsts: Callable[[World, int], int]
    seconds: Callable[[World, int], int]


def _fixed(name: str) -> Callable[[World], int]:
    return lambda world: world.fixed[name]


def _having(masks: Iterable[int], number: int) -> int:
    return mask(index for index, value in enumerate(masks) if value >> number & 1)


PROPERTIES: dict[str, Unary] = {
    "openable": Unary("receptacle", _fixed("openable")),
    "opened": Unary("receptacle", lambda world: world.opened),
    "holdsany": Unary("agent", lambda world: int(world.held >= 0)),
    "pickupable": Unary("object", _fixed("pickupable")),
    "cleanable": Unary("object", _fixed("cleanable")),
    "heatable": Unary("object", _fixed("heatable")),
    "coolable": Unary("object", _fixed("coolable")),
    "sliceable": Unary("object", _fixed("sliceable")),
    "toggleable": Unary("object", _fixed("toggleable")),
    "isreceptacleobject": Unary("object", _fixed("isreceptacleobject")),
    "isclean": Unary("object", lambda world: world.clean),
    "ishot": Unary("object", lambda world: world.hot),
    "iscool": Unary("object", lambda world: world.cool),
    "issliced": Unary("object", lambda world: world.sliced),
    "istoggled": Unary("object", lambda world: world.toggled),
    # The original has a negated fact only after the fact became false, and nothing is ever switched off.
    "not_istoggled": Unary("object", lambda world: 0),
}

RELATIONS: dict[str, Binary] = {
    "holds": Binary(
        ("agent", "object"),
        lambda world, item: int(world.held == item),
        lambda world, agent: 1 << world.held if world.held >= 0 else 0,
    ),
    "atlocation": Binary(
        ("agent", "location"),
        lambda world, place: int(world.location == place),
        lambda world, agent: 1 << world.location,
    ),
    "receptacleatlocation": Binary(
        ("receptacle", "location"),
        lambda world, place: world.receptacles_at[place],
        lambda world, receptacle: 1 << world.place_of[receptacle],
    ),
    "objectatlocation": Binary(
        ("object", "location"),
        lambda world, place: world.present[place],
        lambda world, item: _having(world.present, item),
    ),
    "inreceptacle": Binary(
        ("object", "receptacle"),
        lambda world, receptacle: world.contents[receptacle],
        lambda world, item: _having(world.contents, item),
    ),
    "not_inreceptacle": Binary(
        ("object", "receptacle"),
        lambda world, receptacle: world.taken[receptacle],
        lambda world, item: _having(world.taken, item),
    ),
    "inreceptacleobject": Binary(
        ("object", "object"),
        lambda world, vessel: world.vessel_contents[vessel],
        lambda world, item: _having(world.vessel_contents, item),
    ),
}
