"""The conditions of a goal, counted in a state as ALFRED (Shridhar et al. 2020) counts them.

- Place: an item of the goal's type lies in a receptacle of the goal's type. In a two-item task there are two
  such conditions, for two items in the same receptacle.
- Clean, heat or cool first: an item has the state (one condition), and an item with the state lies in the
  receptacle (another condition).
- Look at in light: an item is in the hand, and a lamp of the goal's type is lit where the agent is.
- Slice first: an item (or two) is sliced, and all conditions above count sliced items only.

Beyond ALFRED: some old releases require that all receptacles are closed, which is one more condition.
"""

from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.world import EngineState, World, mask

_ABILITIES = {"clean": "cleanable", "hot": "heatable", "cool": "coolable", "sliced": "sliceable"}


class GoalConditions:
    """Counts the conditions of one game; all are met if and only if the game is won.

    Attributes:
        total: number of conditions.
    """

    def __init__(self, game: Game) -> None:
        """Make the tables."""
        world, win, items = World(game), game.win, list(enumerate(game.items))
        self._win, self._receptacles_at = win, world.receptacles_at
        self._wanted = mask(i for i, item in items if item.type == win.item_type)
        for state in win.states:
            self._wanted &= world.fixed[_ABILITIES[state]]
        self._lamps = mask(i for i, item in items if item.type == win.lamp_type and item.toggleable)
        kinds = [receptacle.type for receptacle in game.receptacles]
        self._targets = [r for r, kind in enumerate(kinds) if kind == win.receptacle_type]
        self._treatments = tuple(state for state in win.states if state != "sliced")
        placing = win.count * (1 + ("sliced" in win.states) + bool(self._treatments)) + len(self._treatments)
        self.total = (2 if win.lamp_type else placing) + win.all_closed

    def met(self, state: EngineState) -> int:
        """Number of conditions that hold in a state."""
        closed = self._win.all_closed and not state.opened
        return closed + (self._met_in_light(state) if self._win.lamp_type else self._met_by_placing(state))

    def _met_in_light(self, state: EngineState) -> int:
        here, lit = self._receptacles_at[state.location], self._lamps & state.toggled
        in_light = any(here >> r & 1 and items & lit for r, items in enumerate(state.contents))
        in_hand = state.held >= 0 and self._wanted >> state.held & 1
        return int(in_light) + int(in_hand)

    def _met_by_placing(self, state: EngineState) -> int:
        of_state = {"clean": state.clean, "hot": state.hot, "cool": state.cool}
        items, met = self._wanted, 0
        if "sliced" in self._win.states:
            items &= state.sliced
            met += min(items.bit_count(), self._win.count)
        met += self._placed(state, items)
        treated = items
        for name in self._treatments:
            met += bool(items & of_state[name])
            treated &= of_state[name]
        return met + (self._placed(state, treated) if self._treatments else 0)

    def _placed(self, state: EngineState, items: int) -> int:
        """Largest number of these items in one receptacle of the goal's type, at most the goal's count."""
        most = max(((state.contents[r] & items).bit_count() for r in self._targets), default=0)
        return min(most, self._win.count)
