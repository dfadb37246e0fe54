"""Rewards of a step: ``"success"``, ``"goal_conditions"`` or ``"optimal_distance"``.

``"success"`` is 1 at the step that wins, else 0.

``"goal_conditions"`` is the share of the goal's conditions (see goal_conditions.py) that are newly met: the
increase of the largest number met at once so far in the episode. A condition that is met, undone and met
again pays once. Conditions met at the start do not count, so the shares refer to the others. The rewards of
an episode sum to 1 if and only if it is won.

``"optimal_distance"`` is success plus the potential-based shaping term of Ng, Harada and Russell (1999),

    F(s, s') = gamma * P(s') - P(s),    P(s) = -SCALE * (least number of commands to win from s),

with gamma = 1, since returns here are undiscounted, and P = 0 once the episode is over. The sum of F over an
episode is -P(start), independent of the actions, so optimal policies stay optimal. The end by the step limit
also counts as over: returns are sums over whole episodes, and a remaining potential would change them; the
end by Gymnasium's ``TimeLimit`` does not, as no environment is told of it: there use ``step_limit``. A
learner that bootstraps from the value of the last state adds the P of that state,
``potential(env.unwrapped.oracle.distance())``.
"""

from typing import Protocol

from stepopsd_envs.alfworld.goal_conditions import GoalConditions
from stepopsd_envs.alfworld.oracle import UNWINNABLE, Oracle, Playing

REWARDS = ("success", "goal_conditions", "optimal_distance")
GAMMA = 1.0
SCALE = 0.1
UNWINNABLE_POTENTIAL = -10.0
"""Any finite number keeps optimal policies optimal; this one is below the potential of all winnable games."""


class Reward(Protocol):
    """The reward function of one episode."""

    def pay(self, won: bool, over: bool) -> float:
        """The reward of the last step; ``over``: the episode has ended, by winning or by the step limit."""

    def kept(self) -> list[int]:
        """The memory of the episode so far, for a snapshot."""
        ...


def make_reward(name: str, engine: Playing, kept: list[int] | None = None) -> Reward:
    """Make the reward function for a game in play.

    Args:
        name: one of ``REWARDS``.
        engine: the game in play.
        kept: ``kept()`` of the reward of a snapshot; None at the start of an episode.

    Raises:
        ValueError: ``kept`` belongs to another reward.
    """
    if name == "goal_conditions":
        return Progress(engine, kept)
    return OptimalDistance(engine) if name == "optimal_distance" else Success()


class Success:
    """1 at the step that wins, else 0."""

    def pay(self, won: bool, over: bool) -> float:
        """1.0 if the step wins, else 0.0."""
        return float(won)

    def kept(self) -> list[int]:
        """Empty: this reward has no memory."""
        return []


class Progress:
    """The share of the goal's conditions that are newly met."""

    def __init__(self, engine: Playing, kept: list[int] | None = None) -> None:
        """Count the conditions met at the start, or continue from ``kept``; ValueError if it does not fit."""
        self._engine, self._conditions = engine, GoalConditions(engine.game)
        if kept is None:
            start = min(self._conditions.met(engine.get_state()), self._conditions.total - 1)
            kept = [start, start]
        if len(kept) != 2:
            raise ValueError(
                "the snapshot was taken with another reward and does not count the conditions met so far; "
                'pass a snapshot taken with reward="goal_conditions"'
            )
        self._start, self._most = kept

    def pay(self, won: bool, over: bool) -> float:
        """The share of conditions that are newly met."""
        before = self._most
        self._most = max(before, self._conditions.met(self._engine.get_state()))
        return (self._most - before) / (self._conditions.total - self._start)

    def kept(self) -> list[int]:
        """Number of conditions met at the start, and the largest number met so far."""
        return [self._start, self._most]


class OptimalDistance:
    """Success plus the shaping term."""

    def __init__(self, engine: Playing) -> None:
        """Begin at the current state of the engine."""
        self._oracle = Oracle(engine)
        self._potential = potential(self._oracle.distance())

    def pay(self, won: bool, over: bool) -> float:
        """Success plus the change of the potential."""
        before = self._potential
        self._potential = 0.0 if over else potential(self._oracle.distance())
        return float(won) + GAMMA * self._potential - before

    def kept(self) -> list[int]:
        """Empty: the potential follows from the state."""
        return []


def potential(distance: int) -> float:
    """P of a state at this distance from winning, in commands; ``UNWINNABLE`` is allowed."""
    return UNWINNABLE_POTENTIAL if distance == UNWINNABLE else -SCALE * distance
