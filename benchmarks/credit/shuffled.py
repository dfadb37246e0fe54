"""Another method with the credit of every episode's steps shuffled, to separate credit from its size.

What a method gives to an episode as a whole stays, and so do the size of its advantages and how they are
spread, counted per step (commands differ in length); which step has which does not. What it still trains has
nothing to do with the right step.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from stepopsd_agent import credit, ops
from stepopsd_agent.accuracy import entries
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, CreditMethod


@dataclass(frozen=True)
class Shuffled:
    """The advantages of another method that gives all tokens of a step the same, shuffled within episodes.

    The order is drawn from the sampled tokens, so that a run that is resumed shuffles alike.

    Attributes:
        inner: the other method: a name, and settings after it, with commas between them.

    Raises:
        ValueError: tokens of one step have different advantages.
    """

    inner: str = "path_gain"

    paper: ClassVar[str] = "none; a control of which step has the credit"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def _method(self) -> CreditMethod:
        return entries([self.inner.replace(",", " ")])[0].make()

    @property
    def needs(self) -> frozenset[str]:
        """Those of the other method."""
        return self._method().needs

    def __call__(self, batch: Batch) -> Credit:
        """The other method's credit, each episode's steps in another order."""
        found, step_of = self._method()(batch), batch.tokens.step_of_token
        taken = step_of >= 0
        steps = found.advantages.new_zeros(batch.num_steps)
        steps[step_of[taken]] = found.advantages[taken]
        spread = ops.spread_steps(steps, step_of)
        if not torch.equal(spread[taken], found.advantages[taken]):
            raise ValueError(f"{self.inner} gives tokens of one step different advantages")
        drawn = torch.Generator().manual_seed(int(batch.tokens.input_ids[taken].sum()) % 2**31)
        episode, noise = batch.steps.episode_of_step, torch.rand(batch.num_steps, generator=drawn)
        # By episode, and in it by chance; drawn on the host, so that every device draws alike.
        order = torch.argsort(episode.double() + noise.double().to(episode.device) / 2)
        return replace(found, advantages=ops.spread_steps(steps[order], step_of))


credit.register("shuffled", f"{__name__}:Shuffled")
