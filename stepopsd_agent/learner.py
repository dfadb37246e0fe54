"""The policy update: clipped surrogate on the credit it is given, k3 KL to the reference.

The learner never knows which credit method ran. Token weights are fixed once per mini-batch of rows, so
micro-batches add up to the same gradient however they are cut.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent import losses
from stepopsd_agent.batch import Batch
from stepopsd_agent.config import LearnerConfig
from stepopsd_agent.credit.base import Credit
from stepopsd_agent.optimizers import make_optimizers
from stepopsd_agent.policy import Policy
from stepopsd_agent.rescore import chunks


@dataclass
class UpdateStats:
    """Sums over one mini-batch, each already weighted by the token weights."""

    loss: float = 0.0
    kl: float = 0.0
    clip_fraction: float = 0.0
    approx_kl: float = 0.0


class Learner:
    """Owns the optimizers.

    Attributes:
        policy: the weights being trained.
        config: settings of the update.
        optimizers: AdamW over all trainable weights; with ``muon_lr`` Muon for the matrices beside it.
    """

    def __init__(self, policy: Policy, config: LearnerConfig) -> None:
        """Make the optimizers."""
        self.policy, self.config = policy, config
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimizers = make_optimizers(
            policy,
            lr=config.lr,
            muon_lr=config.muon_lr,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.999),
        )

    def update(self, batch: Batch, credit: Credit, *, temperature: float = 1.0) -> dict[str, float]:
        """One pass over the batch in ``mini_batches`` optimizer steps.

        Args:
            batch: with ``ref_logprobs`` when ``kl_coef`` > 0.
            credit: advantages [N, T] from a credit method.
            temperature: that of sampling, so that ratios start at 1.

        Returns:
            Means over the mini-batches: loss, kl (to the reference, nats), clip_fraction, approx_kl (to the
            sampling policy, nats), grad_norm.

        Raises:
            FloatingPointError: the gradient is not finite; weights are left as they were.
        """
        rows = torch.arange(batch.tokens.input_ids.shape[0]).chunk(self.config.mini_batches)
        totals: dict[str, float] = {}
        for part in rows:
            for name, value in self._step(batch, credit, part, temperature).items():
                totals[name] = totals.get(name, 0.0) + value / len(rows)
        return totals

    def _step(self, batch: Batch, credit: Credit, part: Tensor, temperature: float) -> dict[str, float]:
        mask = torch.zeros_like(batch.action_mask)
        mask[part] = batch.action_mask[part]
        weights = losses.token_weights(mask, self.config.aggregation)
        lengths = batch.tokens.attention_mask.sum(1)
        stats = UpdateStats()
        self._forget_gradients()
        for chunk in chunks(lengths[part].tolist(), self.config.tokens_per_micro_batch):
            rows = part[chunk]
            width = int(lengths[rows].max())
            loss = self._micro_loss(batch, credit, weights, rows, width, temperature, stats)
            loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        if not torch.isfinite(norm):
            self._forget_gradients()
            raise FloatingPointError(
                f"the gradient norm is {norm.item()}; weights were not changed. "
                "Lower learner.lr or set learner.rescore_old"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        return {**vars(stats), "grad_norm": float(norm)}

    def _micro_loss(
        self,
        batch: Batch,
        credit: Credit,
        weights: Tensor,
        rows: Tensor,
        width: int,
        temperature: float,
        stats: UpdateStats,
    ) -> Tensor:
        tokens, config = batch.tokens, self.config

        def cut(column: Tensor) -> Tensor:
            return column[rows, :width]

        mask, weight = cut(batch.action_mask), cut(weights)
        new = self.policy.token_logprobs(
            cut(tokens.input_ids), mask, positions=cut(tokens.position_ids), temperature=temperature
        )
        old = cut(tokens.old_logprobs)
        per_token = losses.ppo_clip(
            new,
            old,
            cut(credit.advantages),
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            dual_clip=config.dual_clip,
        )
        loss = (weight * per_token).sum()
        for term in credit.terms:  # normalised over the whole batch, of which this mini-batch is one part
            share = config.mini_batches * cut(term.weights)
            loss = loss + (share * term.function(new, *map(cut, term.inputs))).sum()
        if config.kl_coef:
            if tokens.ref_logprobs is None:
                raise ValueError(
                    "learner.kl_coef > 0 needs ref_logprobs in the batch; score them first or set kl_coef=0"
                )
            kl = (weight * losses.k3_kl(new, cut(tokens.ref_logprobs))).sum()
            loss = loss + config.kl_coef * kl
            stats.kl += float(kl.detach())
        with torch.no_grad():
            clipped = losses.ppo_clipped(
                new, old, cut(credit.advantages), clip_low=config.clip_low, clip_high=config.clip_high
            )
            stats.loss += float(loss)
            stats.clip_fraction += float((weight * clipped).sum())
            stats.approx_kl += float((weight * (old - new)).sum())
        return loss

    def _forget_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
