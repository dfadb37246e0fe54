"""Another method without its choice of steps: its credit shuffled within episodes, or averaged over each.

What the method gives to an episode as a whole stays in both. Shuffled, the size of its advantages stays, too,
and how they are spread, counted per step (commands differ in length); which step has which does not.
Averaged, all steps of an episode have the same, so that no noise is added. What either still trains has
nothing to do with the right step.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from stepopsd_agent import credit, ops
from stepopsd_agent.accuracy import entries
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, CreditMethod


@dataclass(frozen=True)
class _WithoutSteps:
    """The advantages of another method that gives all tokens of a step the same, not on the steps it chose.

    Attributes:
        inner: the other method: a name, and settings after it, with commas between them.

    Raises:
        ValueError: tokens of one step have different advantages.
    """

    inner: str = "path_gain"

    paper: ClassVar[str] = "none; a control of which step has the credit"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """Those of the other method."""
        return self._method().needs

    def _method(self) -> CreditMethod:
        return entries([self.inner.replace(",", " ")])[0].make()

    def __call__(self, batch: Batch) -> Credit:
        """The other method's credit, each episode's in another place."""
        found, step_of = self._method()(batch), batch.tokens.step_of_token
        sampled = step_of >= 0
        steps = found.advantages.new_zeros(batch.num_steps)
        steps[step_of[sampled]] = found.advantages[sampled]
        if not torch.equal(ops.spread_steps(steps, step_of)[sampled], found.advantages[sampled]):
            raise ValueError(f"{self.inner} gives tokens of one step different advantages")
        return replace(found, advantages=ops.spread_steps(self._placed(batch, steps), step_of))

    def _placed(self, batch: Batch, steps: Tensor) -> Tensor:
        """[S] what each step gets, of the [S] advantages."""
        raise NotImplementedError


class Shuffled(_WithoutSteps):
    """In another order within each episode, drawn from the sampled tokens: a resumed run shuffles alike."""

    def _placed(self, batch: Batch, steps: Tensor) -> Tensor:
        sampled = batch.tokens.step_of_token >= 0
        drawn = torch.Generator().manual_seed(int(batch.tokens.input_ids[sampled].sum()) % 2**31)
        episode, noise = batch.steps.episode_of_step, torch.rand(batch.num_steps, generator=drawn)
        # By episode, and in it by chance; drawn on the host, so that every device draws alike.
        return steps[torch.argsort(episode.double() + noise.double().to(episode.device) / 2)]


class Averaged(_WithoutSteps):
    """The mean of each episode's steps on all of them."""

    def _placed(self, batch: Batch, steps: Tensor) -> Tensor:
        episode = batch.steps.episode_of_step
        return ops.group_mean(steps, episode, batch.num_episodes)[episode]


credit.register("shuffled", f"{__name__}:Shuffled")
credit.register("averaged", f"{__name__}:Averaged")
