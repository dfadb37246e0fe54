"""From recorded episodes to the advantage of every token, for a trainer that has a loss of its own."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import HindsightConfig
from stepopsd_agent.credit import Credit, CreditMethod, audit_credit, linear_decay, make, scaled
from stepopsd_agent.learner import FreshAttempts, TaskHistory, fill, teacher_rows
from stepopsd_agent.models import Policy, Scorer
from stepopsd_wrappers import Episode

_WITHOUT = {
    "value": "a critic, which another trainer does not train for it",
    "ref_logprobs": "reference weights, which belong to the other trainer",
}
"""Columns that cannot be had beside another trainer, and what they need."""


class Crediting:
    """A credit method for the loss of another trainer: advantages alone, no loss of its own.

    Attributes:
        method: the credit method.
        history: of the tasks, where the method needs their past, else None.
    """

    def __init__(
        self,
        method: CreditMethod | str,
        *,
        hindsight: HindsightConfig | None = None,
        decay_updates: int | None = None,
    ) -> None:
        """Choose the method.

        Args:
            method: as `credit.make` gives it, or its name.
            hindsight: content and place of the teacher's hindsight block; the paper's settings when absent.
            decay_updates: updates over which the scheduled fields of the method fall to 0; None: they stay.

        Raises:
            ValueError: there is no such method, or it needs what no other trainer has.
        """
        self.method = make(method) if isinstance(method, str) else method
        for column, need in _WITHOUT.items():
            if column in self.method.needs:
                raise ValueError(
                    f"{type(self.method).__name__} needs {column}, and so {need}: choose another method"
                )
        if decay_updates is not None:
            linear_decay(0, decay_updates)  # refuses what is below 1
        self._hindsight, self._decay = hindsight, decay_updates
        self.history = TaskHistory(self.method.needs) if TaskHistory.serves(self.method.needs) else None

    def __call__(
        self,
        policy: Policy,
        episodes: Sequence[Episode],
        *,
        update: int = 0,
        temperature: float = 1.0,
        envs: Sequence[gym.Env[str, str]] = (),
        fresh: FreshAttempts | None = None,
    ) -> tuple[Batch, Credit]:
        """The batch of these episodes, with the columns that the method needs, and its audited credit.

        Args:
            policy: the policy that sampled; it scores the columns that need a model.
            episodes: whole groups of finished episodes, none of which failed.
            update: number of the update, for the schedule.
            temperature: of the sampling; divides the logits of every score.
            envs: environments like those that played, for the columns that ask or play them.
            fresh: how further attempts are played, for the column `mc_value`: sampled as the episodes were.

        Raises:
            ValueError: the method has a loss beside its advantages, or needs fresh attempts and is not told
                how they are played.
            MissingColumnError: the records do not tell what the method needs.
        """
        factor = 1.0 if self._decay is None else linear_decay(update, self._decay)
        over = bool(self.method.scheduled) and factor == 0
        needs = frozenset[str]() if over else self.method.needs
        if "mc_value" in needs and fresh is None:
            raise ValueError(
                f"{type(self.method).__name__} needs mc_value, from further attempts: give fresh, a "
                "FreshAttempts with the sampling parameters of the episodes"
            )
        batch = collate(episodes, policy.pad_id).to(policy.device)
        how: dict[str, Any] = {"hindsight": self._hindsight, "history": self.history, "envs": envs}
        rows = teacher_rows(self.method, batch)
        scorer = Scorer(policy, temperature=temperature)
        batch = fill(batch, episodes, needs, policy, scorer=scorer, teacher_rows=rows, fresh=fresh, **how)
        credit = scaled(self.method, factor)(batch)
        if credit.terms:
            names = ", ".join(term.name for term in credit.terms)
            raise ValueError(
                f"{type(self.method).__name__} has a loss beside its advantages ({names}), for which another "
                "trainer has no place: choose a method without one, or train with stepopsd"
            )
        audit_credit(batch, credit)
        if self.history is not None and TaskHistory.serves(needs):
            self.history.add(batch, episodes)
        return batch, credit
