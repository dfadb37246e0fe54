"""What a step pays: ``"success"``, ``"goal_conditions"`` or ``"optimal_distance"``.

``"success"`` pays 1 for the step that wins.

``"goal_conditions"`` pays the share of the goal's conditions (see goal_conditions.py) that are newly met: by
how much more are met at once than ever before in the episode. What was met, undone and met again pays once,
and the rewards of an episode add up to 1 if and only if it was won. Conditions met at the start are no
merit, so the shares are of those that were not.

``"optimal_distance"`` pays success plus the shaping term of Ng, Harada and Russell (1999),

    F(s, s') = gamma * P(s') - P(s),    P(s) = -SCALE * (least number of commands to win from s),

with gamma 1, as returns here are not discounted, and P = 0 once the episode is over. Its sum over an episode
is -P(start), whatever was done, so that the best policies stay the best. The end by the step limit counts as
over: returns are sums over whole episodes, and a potential left over there would change them. A learner
that bootstraps from the value of the last state adds P of it: ``potential(env.unwrapped.oracle.distance())``.
"""

from typing import Protocol

from stepopsd_envs.alfworld.goal_conditions import GoalConditions
from stepopsd_envs.alfworld.oracle import UNWINNABLE, Oracle, Playing

REWARDS = ("success", "goal_conditions", "optimal_distance")
GAMMA = 1.0
SCALE = 0.1
UNWINNABLE_POTENTIAL = -10.0
"""Any finite number keeps the best policies; this one is below that of every game that can be won."""


class Reward(Protocol):
    """Pays for one episode."""

    def pay(self, won: bool, over: bool) -> float:
        """What the step just played pays; ``over``: it was the last, be it by winning or by the limit."""

    def kept(self) -> list[int]:
        """What it remembers of the episode, for a snapshot."""
        ...


def make_reward(name: str, engine: Playing, kept: list[int] | None = None) -> Reward:
    """The reward of that name for the game in play, from its start on or from where a snapshot was taken."""
    if name == "goal_conditions":
        return Progress(engine, kept)
    return OptimalDistance(engine) if name == "optimal_distance" else Success()


class Success:
    """1 for the step that wins."""

    def pay(self, won: bool, over: bool) -> float:
        """1 or 0."""
        return float(won)

    def kept(self) -> list[int]:
        """Nothing."""
        return []


class Progress:
    """The share of the goal's conditions that are newly met."""

    def __init__(self, engine: Playing, kept: list[int] | None = None) -> None:
        """Count what is met, or go on from ``kept``; ValueError if that is of another reward."""
        self._engine, self._conditions = engine, GoalConditions(engine.game)
        if kept is None:
            start = min(self._conditions.met(engine.get_state()), self._conditions.total - 1)
            kept = [start, start]
        if len(kept) != 2:
            raise ValueError(
                "the snapshot was taken with another reward and does not say which conditions were met; "
                'reward="goal_conditions" needs one that was taken with it'
            )
        self._start, self._most = kept

    def pay(self, won: bool, over: bool) -> float:
        """The share that is met for the first time."""
        before = self._most
        self._most = max(before, self._conditions.met(self._engine.get_state()))
        return (self._most - before) / (self._conditions.total - self._start)

    def kept(self) -> list[int]:
        """How many were met at the start, and at most so far."""
        return [self._start, self._most]


class OptimalDistance:
    """Success, shaped by the potential."""

    def __init__(self, engine: Playing) -> None:
        """Begin where the engine stands."""
        self._oracle = Oracle(engine)
        self._potential = potential(self._oracle.distance())

    def pay(self, won: bool, over: bool) -> float:
        """Success, plus the potential won or lost."""
        before = self._potential
        self._potential = 0.0 if over else potential(self._oracle.distance())
        return float(won) + GAMMA * self._potential - before

    def kept(self) -> list[int]:
        """Nothing: the potential follows from the state."""
        return []


def potential(distance: int) -> float:
    """P of a state from which it takes ``distance`` commands to win."""
    return UNWINNABLE_POTENTIAL if distance == UNWINNABLE else -SCALE * distance
