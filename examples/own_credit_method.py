r"""A credit method of one's own in one file, with a column of its own: only uncertain tokens get credit.

Most tokens of a response are all but certain given what stands before them. Wang et al. 2025 (arXiv
2506.01939) train on the fifth with the highest entropy alone. Run these with this folder on PYTHONPATH
("module:name" imports the module, which registers the method):

    stepopsd train --credit.method own_credit_method:high_entropy --credit.share 0.2 \
        --model.path runs/warm --env.tier tiny --out runs/entropy
    stepopsd credit compare runs/entropy --replay --method grpo step_opsd own_credit_method:high_entropy
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, ColumnSources, register_column
from stepopsd_agent.credit import Claim, Credit, computed
from stepopsd_agent.hindsight import row_tree


@register_column("tokens", torch.float32)
def entropy(batch: Batch, sources: ColumnSources) -> Tensor:
    """[N, T] entropy (nats) of the distribution that each token was sampled from, zero elsewhere."""

    def read(logprobs: Tensor, part: slice) -> tuple[Tensor]:
        return (torch.special.entr(logprobs.exp()).sum(-1),)

    trees = [row_tree(batch, row, (), "inline")[0] for row in range(batch.num_rows)]
    found = torch.cat([values for (values,) in sources.scorer.read(trees, lambda ids: read)])
    return torch.zeros(batch.action_mask.shape).to(found).masked_scatter(batch.action_mask, found)


@dataclass(frozen=True)
class HighEntropy:
    """The advantages of GRPO on the tokens with the highest entropy, and none on the others.

    Attributes:
        share: of the batch's sampled tokens that keep their advantage.
    """

    share: float = 0.2

    paper: ClassVar[str] = "after Wang et al. 2025, arXiv 2506.01939"
    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset({"equal_returns_zero", "alone_zero"})

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; it must lie above 0 and be at most 1")

    def __call__(self, batch: Batch) -> Credit:
        """Credit of the tokens whose entropy reaches the batch's quantile."""
        values, plain = computed(batch.own.get("entropy"), "entropy"), credit.make("grpo")(batch)
        least = torch.quantile(values[batch.action_mask], 1 - self.share)
        return replace(plain, advantages=plain.advantages * (values >= least), may_zero_steps=True)


credit.register("high_entropy", "own_credit_method:HighEntropy")
