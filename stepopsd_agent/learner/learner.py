"""The policy update: the clipped surrogate on the credit it is given, and a k3 KL to the reference policy.

The learner never knows which credit method ran. Token weights are fixed once per mini-batch of rows, so
micro-batches add up to the same gradient however they are cut, and whichever process works on them.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from stepopsd_agent.batch import Batch, TopK
from stepopsd_agent.config import UpdateConfig, check_values
from stepopsd_agent.credit import Credit, DistributionTerm, check_credit
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner.distributed import check_same, own_share, sum_gradients, sum_values
from stepopsd_agent.learner.mini_batches import learned_from, loss_weights, mini_batches, per_token
from stepopsd_agent.learner.optimizers import MasterWeights, make_optimizers, set_rates
from stepopsd_agent.models import Policy, Scorer, check_policy
from stepopsd_agent.models.packed import LogprobReader, TokenBudget, in_parts, pack_rows
from stepopsd_agent.ops import losses

_ELSEWHERE = {
    "lora": "policy.add_adapter, called before,",
    **dict.fromkeys(("lr_schedule", "lr_warmup"), "the argument rate of update"),
    "rescore_old": "the argument rescore_old of fill",
    "mismatch": "corrected, called on the credit,",
}
"""Settings of a run that the learner does not read itself."""


@dataclass(frozen=True)
class _MiniBatch:
    """Tensors that the micro-batches of one mini-batch share.

    Attributes:
        batch: the whole batch.
        credit: advantages and further losses.
        weights: [N, T] of the token losses.
        extents: [N] how far each row is needed: up to its last action token.
        temperature: that of sampling.
    """

    batch: Batch
    credit: Credit
    weights: Tensor
    extents: Tensor
    temperature: float

    def rows(self, rows: Tensor) -> "_MiniBatch":
        """The same for some rows, cut at the longest extent among them."""
        width = int(self.extents[rows].max())

        def cut(column: Tensor) -> Tensor:
            return column[rows, :width]

        tokens, credit = self.batch.tokens.rows((rows, slice(width))), self.credit
        terms = tuple(
            replace(term, weights=cut(term.weights), inputs=tuple(map(cut, term.inputs)))
            for term in credit.terms
        )
        return _MiniBatch(
            replace(self.batch, tokens=tokens, teacher_topk=_places(self.batch, rows), own={}),
            replace(credit, advantages=cut(credit.advantages), terms=terms),
            cut(self.weights),
            self.extents[rows],
            self.temperature,
        )


class Learner:
    """Updates a policy; holds the optimizers, and the reference policy where there is a KL term.

    Attributes:
        policy: the weights being trained.
        config: settings of the update.
        group: processes that share every update, each with the whole batch; None for this process alone.
        reference: weights of the reference policy, used where ``kl_coef`` > 0: those at the start.
        masters: the trained weights in full precision.
        budget: tokens per micro-batch.
        optimizers: AdamW over all trainable weights; with ``muon_lr`` Muon for the matrices beside it.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        group: ProcessGroup | None = None,
        reference: dict[str, Tensor] | None = None,
        **settings: Any,
    ) -> None:
        """Make the optimizers.

        Args:
            policy: the policy to train.
            group: processes that share every update.
            reference: weights of the reference policy; the policy's present ones when absent.
            settings: fields of `UpdateConfig`, such as ``lr=1e-6``.

        Raises:
            TypeError: `UpdateConfig` has no such field.
            ValueError: a value is not allowed.
        """
        check_policy(policy)
        known = [spec.name for spec in fields(UpdateConfig)]
        if unknown := sorted(set(settings) - set(known)):
            hint = f"; {_ELSEWHERE[unknown[0]]} does that" if unknown[0] in _ELSEWHERE else ""
            raise TypeError(f"Learner has no setting {unknown[0]!r}{hint}; it has {', '.join(known)}")
        config = UpdateConfig(**settings)
        check_values(config)
        self.policy, self.config, self.group = policy, config, group
        self.reference = policy.origin() if reference is None and config.kl_coef else reference
        self.budget = TokenBudget(config.tokens_per_micro_batch, policy.device)
        self.masters = MasterWeights([p for p in policy.model.parameters() if p.requires_grad])
        rates = {"lr": config.lr, "muon_lr": config.muon_lr, "weight_decay": config.weight_decay}
        self.optimizers = make_optimizers(policy, **rates, betas=(0.9, 0.999), masters=self.masters)

    def update(
        self,
        batch: Batch,
        credit: Credit,
        *,
        temperature: float = 1.0,
        rate: float = 1.0,
        seed: int | str = 0,
    ) -> dict[str, float]:
        """One pass over the batch in ``mini_batches`` optimizer steps.

        Args:
            batch: audited, see `fill`. With ``kl_coef`` > 0 its ``ref_logprobs`` are used; without them the
                reference scores it here.
            credit: advantages [N, T] from a credit method.
            temperature: that of sampling, so that ratios start at 1.
            rate: factor of the learning rates.
            seed: names the order in which episodes are drawn into mini-batches; another for every update.

        Returns:
            Means over the mini-batches: loss, clip_fraction (of tokens), grad_norm, term_NAME for every
            further loss of the credit and, in nats per token, kl (to the reference) and approx_kl (to the
            sampling policy, of rows with a gradient). Where memory ran out also tokens_per_micro_batch, the
            halved budget; where episodes were too few mini_batches, those made; where gradients were not
            finite skipped, the number of such mini-batches: they changed no weight and count in no mean.

        Raises:
            ValueError: the credit is no method's for this batch, or the rate is not a number of at least 0.
            RuntimeError: a single row does not fit into memory, or the group's processes differ.
        """
        check_credit(batch, credit)
        if not 0 <= rate < float("inf"):
            raise ValueError(f"rate is {rate}; it multiplies the learning rates and must be 0 or more")
        batch = self._with_reference(batch, temperature)
        if (group := self.group) is not None:
            weights = self.masters.with_frozen(self.policy.model)
            check_same(batch, credit, (self.config, temperature, rate, seed), weights, group)
        set_rates(self.optimizers, self.config.lr, self.config.muon_lr, rate)
        parts, credit = mini_batches(batch, credit, self.config.mini_batches, seed)
        halvings = self.budget.halvings
        with self.policy.recomputed_layers(self.config.gradient_checkpointing):
            taken = [self._step(batch, credit, part, temperature) for part in parts]
        done = [stats for stats in taken if stats]
        totals = {name: sum(stats[name] for stats in done) / len(done) for name in (done or [{}])[0]}
        if len(done) < len(taken):
            totals["skipped"] = len(taken) - len(done)
        if len(parts) < self.config.mini_batches:
            totals["mini_batches"] = len(parts)
        if self.budget.halvings > halvings:
            totals["tokens_per_micro_batch"] = self.budget.tokens
        return totals

    def _with_reference(self, batch: Batch, temperature: float) -> Batch:
        """The batch with the reference's log-probabilities where the KL term needs them."""
        if not self.config.kl_coef or batch.tokens.ref_logprobs is not None:
            return batch
        assert self.reference is not None  # taken when the learner was made
        with self.policy.weights(self.reference):
            return batch.with_columns(ref_logprobs=batch_logprobs(self._scorer(temperature), batch))

    def _scorer(self, temperature: float) -> Scorer:
        """Who scores a batch with the policy's weights of the moment."""
        passes = {"tokens_per_pass": self.config.tokens_per_micro_batch}
        return Scorer(self.policy, temperature=temperature, attention=self.config.attention, **passes)

    def _step(self, batch: Batch, credit: Credit, part: Tensor, temperature: float) -> dict[str, float]:
        weights = loss_weights(batch, part, self.config)
        column = torch.arange(1, weights.shape[1] + 1, device=weights.device)
        extents = (batch.action_mask * column).amax(1)
        stats = self._accumulate(_MiniBatch(batch, credit, weights, extents, temperature), part)
        if self.group is not None:
            sum_gradients(self.masters.trained, self.group)
        norm = self.masters.clip(self.config.max_grad_norm)
        if not norm < torch.inf:  # on every process of a group, as gradients were summed
            self.masters.forget_gradients()
            return {}
        for optimizer in self.optimizers:
            optimizer.step()
        self.masters.publish()
        self.masters.forget_gradients()  # the next rollout needs the memory
        if self.group is not None:
            stats = sum_values(stats, self.group, self.policy.device)
        return {**per_token(stats, weights, self.config), "grad_norm": norm}

    def _accumulate(self, work: _MiniBatch, part: Tensor) -> dict[str, float]:
        """Gradients of the mini-batch's rows, in as many passes as the budget asks for."""
        mine = part if self.group is None else own_share(part, self.group)
        sizes = {"weights": work.weights, "extents": work.extents}
        mine, left_out = learned_from(mine, work.credit, self.config, **sizes, alone=self.group is None)
        terms = [f"term_{term.name}" for term in work.credit.terms]
        stats: dict[str, float] = {}

        def begin() -> None:
            self.masters.forget_gradients()  # a pass that failed half way may have left some
            names = ["loss", "kl", "clip_fraction", "approx_kl", *terms]
            stats.update({**dict.fromkeys(names, 0.0), "left_out": left_out})

        def one_pass(chosen: list[int]) -> None:
            self._micro_loss(work.rows(mine[chosen]), stats).backward()  # type: ignore[no-untyped-call]
            self.masters.gather()

        lengths, how = work.extents[mine].tolist(), self.policy.attention(self.config.attention)
        settled = all(optimizer.state for optimizer in self.optimizers)
        in_parts(self.budget, lengths, one_pass, padded=how == "padded", begin=begin, settled=settled)
        return stats

    def _micro_loss(self, work: _MiniBatch, stats: dict[str, float]) -> Tensor:
        batch, credit, weight, config = work.batch, work.credit, work.weights, self.config
        tokens, mask = batch.tokens, batch.action_mask
        new, *compared = self._score(work)
        clip = {"clip_low": config.clip_low, "clip_high": config.clip_high}
        old, advantages = tokens.old_logprobs, credit.advantages
        loss = (weight * losses.ppo_clip(new, old, advantages, dual_clip=config.dual_clip, **clip)).sum()
        distances = iter(compared)
        for term in credit.terms:
            if isinstance(term, DistributionTerm):
                value = (term.weights[mask] * next(distances)).sum()
            else:
                value = (term.weights * term.function(new, *term.inputs)).sum()
            loss = loss + value
            stats[f"term_{term.name}"] += float(value.detach())
        if config.kl_coef and tokens.ref_logprobs is not None:
            kl = (weight * losses.k3_kl(new, tokens.ref_logprobs)).sum()
            loss = loss + config.kl_coef * kl
            stats["kl"] += float(kl.detach())
        with torch.no_grad():
            clipped = losses.ppo_clipped(new, old, advantages, **clip)
            stats["loss"] += float(loss)
            stats["clip_fraction"] += float((weight * clipped).sum())
            stats["approx_kl"] += float((weight * (old - new)).sum())
        return loss

    def _score(self, work: _MiniBatch) -> tuple[Tensor, ...]:
        """New log-probabilities [N, T], and the value [M] of every term that compares distributions."""
        tokens, mask = work.batch.tokens, work.batch.action_mask
        how = self.policy.attention(self.config.attention)
        if how == "padded":
            hidden = self.policy.hidden(tokens.input_ids, mask, positions=tokens.position_ids)
        else:
            column = torch.arange(mask.shape[1], device=mask.device)
            real = tokens.attention_mask & (column < work.extents[:, None])
            pack = pack_rows(tokens.input_ids, real, tokens.position_ids, mask)
            hidden = self.policy.packed_hidden(pack, how)
        picked, *compared = self.policy.read_out(hidden, _reader(work), work.temperature)
        new = torch.zeros(mask.shape, dtype=picked.dtype, device=mask.device).masked_scatter(mask, picked)
        return new, *compared


def _reader(work: _MiniBatch) -> LogprobReader:
    """Reads the sampled tokens' log-probabilities, and the value of each term that compares distributions."""
    mask, teacher = work.batch.action_mask, work.batch.teacher_topk
    ids = work.batch.tokens.input_ids[mask]
    terms = [
        (term, [column[mask] for column in term.inputs])
        for term in work.credit.terms
        if isinstance(term, DistributionTerm)
    ]
    if terms and teacher is None:
        raise ValueError(f"the loss {terms[0][0].name!r} needs teacher_topk in the batch; score it first")

    def read(every: Tensor, part: slice) -> tuple[Tensor, ...]:
        new = every.gather(1, ids[part][:, None])[:, 0]
        if teacher is None:
            return (new,)
        likely = teacher.ids[part], teacher.logprobs[part]
        return new, *(t.function(new, every, *likely, *(x[part] for x in inputs)) for t, inputs in terms)

    return read


def _places(batch: Batch, rows: Tensor) -> TopK | None:
    """The teacher's distributions at the action tokens of some rows."""
    teacher, mask = batch.teacher_topk, batch.action_mask
    if teacher is None:
        return None
    number = (mask.flatten().cumsum(0) - 1).view_as(mask)[rows][mask[rows]]
    return TopK(teacher.ids[number], teacher.logprobs[number])
