"""The oracle's reduced view of a household: the few things that matter for the goal.

Picking up an item helps only if it is of the goal's type, a lamp of the goal or (if slicing is needed) a
knife: a plan still works without picking up others. Another item matters only while the hand holds it, and
then only by the receptacles into which it fits. So few facts of a state remain, and many states share them.
"""

from typing import NamedTuple

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.moves import Kinds, kinds_of
from stepopsd_envs.alfworld.world import EngineState, World, bits, mask

_ABILITIES = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}
_CACHED_MASKS = 1_000
_ACTIONS = {"clean": "CleanObject", "hot": "HeatObject", "cool": "CoolObject"}


class Facts(NamedTuple):
    """The relevant facts of a state, in the format that is fastest to compute.

    States with equal facts have equal distances.

    Attributes:
        location: place of the agent; `House.nowhere` for any place where nothing is of use.
        held: the item in the hand, -1 if none; equivalent items have the same number.
        opened: mask of open receptacles.
        contents: pairs of a receptacle and the mask of tracked items in it.
        present: per place, mask of the tracked items at it; empty if no rule depends on it.
        marks: per state in the goal, mask of the items that have it.
    """

    location: int
    held: int
    opened: int
    contents: tuple[tuple[int, int], ...]
    present: tuple[int, ...]
    marks: tuple[int, ...]


class Situation(NamedTuple):
    """The facts by item, in the format that the search uses.

    Attributes:
        location, held, opened, marks: as in `Facts`.
        where: per tracked item, mask of the receptacles in which it lies.
        present: per tracked item, mask of its places; all 0 if no rule depends on it.
    """

    location: int
    held: int
    opened: int
    where: tuple[int, ...]
    present: tuple[int, ...]
    marks: tuple[int, ...]


class House:
    """Constant tables of a game.

    Attributes:
        win: the goal; `states` are the states that it requires of an item, or of a lamp.
        wanted, lamps, knives: masks of the items that can meet the goal or help to meet it.
        tracked: all these items; `relevant` is their mask, `slot_of` gives the index of an item in the tuple.
        fitting: per item, mask of the receptacles into which it fits; `fitting_in` is the reverse.
        targets: mask of the receptacles of the goal's type.
        tools: per state, mask of the receptacles that produce it, by the action in `actions`.
        slicing: index of "sliced" in `states`, -1 if nothing has to be sliced.
        plain: whether no rule and no goal requires receptacles to be closed.
        juggling: whether picking up other things than the wanted ones can help.
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
        if {"hot", "cool"} <= set(self.states):  # each undoes the other, so neither ever helps
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
        self._alike = (*alike, -1)  # index -1, the empty hand, gives -1
        self.juggling = self.slicing >= 0 or bool(self.lamps & self.pickupable)
        self.asks_presence = self.slicing >= 0 or (bool(self.lamps) and self.toggle_by_location)
        self._matter = self.targets
        for tools in self.tools:
            self._matter |= tools
        if self.juggling:
            for item in self.tracked:
                self._matter |= self.fitting[item]

    def facts(self, state: EngineState) -> Facts:
        """The relevant facts of a state."""
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
        """The facts, ordered by item."""
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
        """Mask of the places of the receptacles in a mask."""
        known = self._places.get(receptacles)
        if known is None:
            if len(self._places) >= _CACHED_MASKS:
                self._places.clear()
            known = self._places[receptacles] = mask(self.place_of[r] for r in bits(receptacles))
        return known
