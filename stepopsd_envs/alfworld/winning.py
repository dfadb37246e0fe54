"""Test whether the goal of a game holds."""

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.world import World, bits, mask


class Win:
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
        """Whether the goal holds in a state."""
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
