"""What the oracle has to know of a household: the few things that can matter on the way to the goal.

Items other than those the goal asks for, its lamps and, where slicing is asked for, knives are never worth
picking up: a plan that does so is still a plan without these commands. Another item matters only as long as
the hand holds it, and then only by what it fits into. So few facts of a state are left, and many states
have all of them in common.
"""

from typing import NamedTuple

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.moves import Kinds, kinds_of
from stepopsd_envs.alfworld.world import EngineState, World, bits, mask

_ABILITIES = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}
_CACHED_MASKS = 1_000
_ACTIONS = {"clean": "CleanObject", "hot": "HeatObject", "cool": "CoolObject"}


class Facts(NamedTuple):
    """What matters of a state, in the form that is quickest to make: states with equal facts are alike.

    Attributes:
        location: place of the agent, `House.nowhere` for any place at which nothing is of use.
        held: the item in its hand, -1 if none; the same number for items that matter alike.
        opened: mask of open receptacles.
        contents: pairs of a receptacle and the mask of tracked items in it.
        present: per place, mask of the tracked items that are at it; empty where no rule asks for it.
        marks: per state that the goal asks for, mask of the items in it.
    """

    location: int
    held: int
    opened: int
    contents: tuple[tuple[int, int], ...]
    present: tuple[int, ...]
    marks: tuple[int, ...]


class Situation(NamedTuple):
    """The same by item, as the search needs it.

    Attributes:
        location, held, opened, marks: as above.
        where: per tracked item, mask of the receptacles it lies in.
        present: per tracked item, mask of the places it is at; all 0 where no rule asks for it.
    """

    location: int
    held: int
    opened: int
    where: tuple[int, ...]
    present: tuple[int, ...]
    marks: tuple[int, ...]


class House:
    """The tables of a game.

    Attributes:
        win: the goal; `states` is what it asks of an item, or of a lamp.
        wanted, lamps, knives: masks of the items that can meet the goal, or help to it.
        tracked: all these; `relevant` is their mask, and `slot_of` gives the place of one in this tuple.
        fitting: per item, mask of the receptacles that it fits into; `fitting_in` is the reverse.
        targets: mask of the receptacles of the goal's type.
        tools: per state, mask of the receptacles that bring it about, by the action in `actions`.
        slicing: index of "sliced" in `states`, -1 when nothing is to be sliced.
        plain: whether no rule and no goal asks for receptacles to be closed.
        juggling: whether more things than the wanted ones can be worth picking up.
    """

    def __init__(self, game: Game) -> None:
        """Make the tables."""
        world, kinds = World(game), kinds_of(game)
        self.win = game.win
        self.states = ("toggled",) if game.win.lamp_type else game.win.states
        self.slicing = self.states.index("sliced") if "sliced" in self.states else -1
        self.one_open, self.all_closed = game.rules.one_open, game.win.all_closed
        self.plain = not (self.one_open or self.all_closed)
        self.toggle_by_location = game.rules.toggle_by_location
        self._set_receptacles(game, world, kinds)
        self._set_items(game, world, kinds)
        self._set_what_matters(len(game.items))

    def _set_receptacles(self, game: Game, world: World, kinds: Kinds) -> None:
        self.openable = world.fixed["openable"]
        self.place_of, self.nowhere = world.place_of, len(world.receptacles_at)
        self.receptacles_at = (*world.receptacles_at, 0)
        self._places: dict[int, int] = {}
        kind = self.win.receptacle_type
        self.targets = mask(r for r, receptacle in enumerate(game.receptacles) if receptacle.type == kind)
        tools = {"clean": kinds.cleans, "hot": kinds.heats, "cool": kinds.cools}
        if {"hot", "cool"} <= set(self.states):  # each undoes the other, so none of them ever helps
            del tools["hot"], tools["cool"]
        self.tools = tuple(tools.get(state, 0) for state in self.states)
        self.actions = tuple(_ACTIONS.get(state, "") for state in self.states)

    def _set_items(self, game: Game, world: World, kinds: Kinds) -> None:
        items, win = list(enumerate(game.items)), self.win
        self.pickupable, self.fitting_in = world.fixed["pickupable"], kinds.fitting
        self.wanted = mask(i for i, item in items if item.type == win.item_type)
        for state in win.states:
            self.wanted &= world.fixed[_ABILITIES[state]]
        self.lamps = mask(i for i, item in items if item.type == win.lamp_type and item.toggleable)
        self.knives = kinds.slices if self.slicing >= 0 else 0
        self.relevant = self.wanted | self.lamps | self.knives
        self.tracked = tuple(bits(self.relevant))
        self.slot_of = {item: slot for slot, item in enumerate(self.tracked)}
        self.fitting = tuple(
            mask(r for r, fits in enumerate(kinds.fitting) if fits >> i & 1) for i, _ in items
        )

    def _set_what_matters(self, items: int) -> None:
        others = [item for item in range(items) if not self.relevant >> item & 1]
        first = {self.fitting[item]: item for item in reversed(others)}
        alike = [item if self.relevant >> item & 1 else first[self.fitting[item]] for item in range(items)]
        self._alike = (*alike, -1)  # the last is found at -1, the empty hand
        self.juggling = self.slicing >= 0 or bool(self.lamps & self.pickupable)
        self.asks_presence = self.slicing >= 0 or (bool(self.lamps) and self.toggle_by_location)
        self._matter = self.targets
        for tools in self.tools:
            self._matter |= tools
        if self.juggling:
            for item in self.tracked:
                self._matter |= self.fitting[item]

    def facts(self, state: EngineState) -> Facts:
        """What matters of a state."""
        relevant, matter, held = self.relevant, self._matter, self._alike[state.held]
        contents = tuple([(r, kept) for r, items in enumerate(state.contents) if (kept := items & relevant)])
        for receptacle, _ in contents:
            matter |= 1 << receptacle
        if held >= 0:
            matter |= self.fitting[held]
        opened = state.opened & self.openable & matter if self.plain else state.opened
        place = state.location
        present = tuple([items & relevant for items in state.present]) if self.asks_presence else ()
        if self.plain and not (self.receptacles_at[place] & matter or (present and present[place])):
            place = self.nowhere
        return Facts(place, held, opened, contents, present, self._marks(state))

    def _marks(self, state: EngineState) -> tuple[int, ...]:
        masks = {"clean": state.clean, "hot": state.hot, "cool": state.cool, "sliced": state.sliced}
        masks["toggled"] = state.toggled
        return tuple([masks[name] & self.relevant for name in self.states])

    def situation(self, facts: Facts) -> Situation:
        """The facts by item."""
        where, present = [0] * len(self.tracked), [0] * len(self.tracked)
        for receptacle, items in facts.contents:
            for item in bits(items):
                where[self.slot_of[item]] |= 1 << receptacle
        for place, items in enumerate(facts.present):
            for item in bits(items):
                present[self.slot_of[item]] |= 1 << place
        location, held, opened, _, _, marks = facts
        return Situation(location, held, opened, tuple(where), tuple(present), marks)

    def places(self, receptacles: int) -> int:
        """The mask of the places of a mask of receptacles."""
        known = self._places.get(receptacles)
        if known is None:
            if len(self._places) >= _CACHED_MASKS:
                self._places.clear()
            known = self._places[receptacles] = mask(self.place_of[r] for r in bits(receptacles))
        return known
