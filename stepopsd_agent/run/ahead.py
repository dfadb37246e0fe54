"""One-step-ahead sampling: actors play the next update's groups while this one is learned from.

The groups of an update are then played by the weights before the previous update. The loss takes this into
account by itself: its ratio compares with the log-probabilities recorded in sampling. The update after a
checkpoint always waits for fresh groups, so that a run continued from there goes where an uninterrupted one
went.
"""

from collections.abc import Callable
from copy import copy
from typing import Any, cast

from stepopsd_agent.rollout.engines import RayActors
from stepopsd_agent.run.trainer import Trainer
from stepopsd_wrappers import Episode


class AheadTrainer(Trainer):
    """A `Trainer` whose actors play ahead; ``train/staleness`` says by how many updates, 0 or 1."""

    def __post_init__(self) -> None:
        """Begin without anything played.

        Raises:
            ValueError: its backend has no actors, an update's rounds are not known before, or the
                log-probabilities recorded in sampling are not used.
        """
        if not isinstance(self.backend, RayActors):
            raise ValueError(
                "rollout.ahead needs actors that play while this process learns: rollout.backend ray"
            )
        if self.config.rollout.max_rounds > 1:
            raise ValueError(
                f"rollout.max_rounds is {self.config.rollout.max_rounds}; with rollout.ahead an update's "
                "groups begin before those of the last one are known: set it to 1"
            )
        if self.config.rollout.rescored or self.config.learner.rescore_old:
            raise ValueError(
                "with rollout.ahead the loss needs the log-probabilities recorded in sampling, but "
                "rollout.top_k, rollout.top_p or learner.rescore_old let newer weights compute them again: "
                "leave these at their defaults"
            )
        super().__post_init__()
        self._begun: Callable[[], list[Episode]] | None = None
        self._staleness = 0

    def step(self) -> tuple[list[Episode], dict[str, float], dict[str, float]]:
        """One update, as `Trainer.step` makes it; the metrics have the staleness."""
        episodes, metrics, seconds = super().step()
        return episodes, {**metrics, "train/staleness": self._staleness}, seconds

    def collect(self) -> list[Episode]:
        """Wait for this update's groups, and let the actors begin with the next one's."""
        begun, self._begun = self._begun, None
        self._staleness = int(begun is not None)
        episodes = super().collect() if begun is None else begun()
        following = self.update + 1
        if following < self.config.updates and following % self.config.checkpoint_every:
            self._begun = self._begin()
        return episodes

    def _begin(self) -> Callable[[], list[Episode]]:
        later: Any = copy(self)
        later.update, later.backend = self.update + 1, cast(RayActors, self.backend).begin
        return cast(Callable[[], list[Episode]], later._play(0, self.config.rollout.tasks))
