"""Behaviour cloning: from random weights (or a pretrained model) to a policy worth improving.

Cross-entropy on the expert's commands; on a fresh model also, more lightly, on the environment's words,
which teach it to read. Some steps are shown a second time behind a hindsight block, so that the same weights
can act as a hindsight teacher.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepopsd_agent.config import HindsightConfig, WarmstartConfig
from stepopsd_agent.hindsight import block_ids
from stepopsd_agent.learner.optimizers import MasterWeights, make_optimizers
from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import Branch, Tree, pad_trees
from stepopsd_agent.rollout import Demonstration, Turn
from stepopsd_wrappers import Episode


@dataclass(frozen=True)
class Example:
    """A tree to clone.

    Attributes:
        tree: its tokens.
        weights: of each trunk token's loss, 0 on mistakes; branch targets weigh 1.
        mistakes: trunk columns of the mistakes' tokens, which late passes may imitate, too.
    """

    tree: Tree
    weights: tuple[float, ...]
    mistakes: tuple[int, ...] = ()


def examples(
    demonstration: Demonstration,
    policy: Policy,
    config: WarmstartConfig,
    hindsight: HindsightConfig,
    rng: np.random.Generator,
) -> list[Example]:
    """Rows of one demonstration: one per episode in the transcript layout, one per step in the window.

    With inline hindsight some steps also hang a branch: block, then the informed label. With prefix
    hindsight the rows of an informed demonstration begin with the block instead. Modes that tell neither the
    end nor a peer are not demonstrated.
    """
    shows = hindsight.mode not in ("none", "next_observation", "gold")
    prefix = demonstration.informed and hindsight.position == "prefix" and shows
    inline = hindsight.position == "inline" and shows
    count = len(demonstration.turns)
    chosen = set(rng.permutation(count)[: config.hindsight_steps].tolist()) if inline else set()
    rows: list[_Row] = []
    shown = ""
    for k, turn in enumerate(demonstration.turns):
        if shown and turn.prompt.startswith(shown):
            rows[-1].read(
                policy.prompt_format.turn_ids(turn.prompt[len(shown) :], closed=True),
                config.observation_weight,
            )
        else:
            rows.append(_Row())
            rows[-1].read(policy.prompt_format.first_ids(turn.prompt), config.observation_weight)
            if prefix:
                rows[-1].read(_block(demonstration, demonstration.peer, policy, hindsight), 0.0)
        if k in chosen:
            rows[-1].branches.append(
                _hindsight_branch(demonstration, turn, len(rows[-1].ids), policy, hindsight, rng)
            )
        right = turn.command == (turn.informed if demonstration.informed else turn.label)
        # Whoever has read a peer is to make no mistakes, in no pass.
        ids = policy.prompt_format.response_ids(turn.command)
        rows[-1].command(ids, right, imitable=not demonstration.informed)
        shown = turn.prompt + turn.command
    return [row.example() for row in rows]


@dataclass
class _Row:
    """A row in the making."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    mistakes: list[int] = field(default_factory=list)

    def command(self, ids: Sequence[int], right: bool, *, imitable: bool) -> None:
        if imitable and not right:
            self.mistakes.extend(range(len(self.ids), len(self.ids) + len(ids)))
        self.read(ids, 1.0 if right else 0.0)

    def read(self, ids: Sequence[int], weight: float) -> None:
        self.ids.extend(ids)
        self.weights.extend([weight] * len(ids))

    def example(self) -> Example:
        tree = Tree(tuple(self.ids), tuple(self.branches), tuple(range(1, len(self.ids))))
        return Example(tree, (0.0, *self.weights[1:]), tuple(self.mistakes))


def _block(
    demonstration: Demonstration, peer: Episode | None, policy: Policy, hindsight: HindsightConfig
) -> list[int]:
    """The block that training will show: an attempt with a peer beside it is one that failed."""
    shown = peer is not None and "peer" in hindsight.mode
    success = demonstration.episode.success and not shown
    return block_ids(policy, hindsight, success, peer)


def _hindsight_branch(
    demonstration: Demonstration,
    turn: Turn,
    at: int,
    policy: Policy,
    hindsight: HindsightConfig,
    rng: np.random.Generator,
) -> Branch:
    """The step again, behind the block a failed attempt would see (with a peer) or the bare outcome."""
    peer = demonstration.peer if "peer" in hindsight.mode and rng.random() < 0.75 else None
    block = _block(demonstration, peer, policy, hindsight) or policy.encode(["\n"])[0]
    label = turn.informed if peer is not None else turn.label
    return Branch(at, tuple(block), tuple(policy.prompt_format.response_ids(label)))


def clone_loss(policy: Policy, batch: Sequence[Example], *, mistakes: bool = False) -> Tensor:
    """Weighted mean cross-entropy (nats) over trunk tokens and branch targets; mistakes weigh 1 or 0.

    Zero where nothing has a weight, as a window of a mistake alone without a weight of observations.
    """
    padded = pad_trees([e.tree for e in batch], policy.pad_id, policy.device)
    weights = torch.zeros(padded.ids.shape)
    for n, example in enumerate(batch):
        size = len(example.weights)
        weights[n, :size] = torch.tensor(example.weights)
        weights[n, size:] = 1.0
        if mistakes:
            weights[n, list(example.mistakes)] = 1.0
    select = padded.select & (weights.to(policy.device) > 0)
    logprobs = policy.token_logprobs(padded.ids, select, positions=padded.positions, mask=padded.mask)
    kept = weights.to(policy.device) * select
    return -(kept * logprobs).sum() / kept.sum().clamp(min=1e-9)


def clone(
    policy: Policy,
    data: Sequence[Example],
    config: WarmstartConfig,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    *,
    last: Sequence[Example] = (),
) -> list[float]:
    """Fit the policy to the examples and return the loss of each optimizer step.

    Linear warm-up over a twentieth of the steps, then cosine decay to a tenth of the peak rate.

    Args:
        policy: whose weights to fit.
        data: examples, seen ``config.passes`` times.
        config: settings.
        seed: of the order.
        on_step: called after each step with its number and loss.
        last: examples seen once, after the others, their mistakes imitated.

    Raises:
        FloatingPointError: the gradient is not finite.
    """
    rng = np.random.default_rng(seed)
    batches = make_batches(_lengths(data), config.batch_rows, config.passes, rng)
    from_here = round(len(batches) * (1 - config.mistake_passes / max(1, config.passes)))
    if last:
        batches += [len(data) + batch for batch in make_batches(_lengths(last), config.batch_rows, 1, rng)]
    rows = [*data, *last]
    masters = MasterWeights([weight for weight in policy.model.parameters() if weight.requires_grad])
    rates = {"lr": config.lr, "muon_lr": config.muon_lr, "weight_decay": 0.01}
    optimizers = make_optimizers(policy, **rates, betas=(0.9, 0.95), masters=masters)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: _rate(step, len(batches))) for o in optimizers
    ]
    losses = []
    for step, batch in enumerate(batches):
        loss = clone_loss(policy, [rows[i] for i in batch], mistakes=step >= from_here)
        masters.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        masters.gather()
        norm = masters.clip(1.0)
        if not norm < torch.inf:
            raise FloatingPointError(
                f"step {step + 1} of {len(batches)} has the gradient norm {norm}; the weights are "
                "those of the step before. Lower warmstart.lr and warmstart.muon_lr"
            )
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        masters.publish()
        losses.append(float(loss.detach()))
        on_step(step, losses[-1])
    masters.forget_gradients()
    return losses


def _lengths(rows: Sequence[Example]) -> list[int]:
    return [len(row.weights) for row in rows]


def make_batches(
    lengths: Sequence[int], rows: int, passes: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Indices of each batch: random, but of rows about equally long, so that little is padding."""
    batches: list[npt.NDArray[np.int64]] = []
    for _ in range(passes):
        order = rng.permutation(len(lengths))
        for chunk in np.split(order, range(16 * rows, len(order), 16 * rows)):
            chunk = chunk[np.argsort(np.asarray(lengths)[chunk], kind="stable")]
            parts = np.split(chunk, range(rows, len(chunk), rows))
            batches += [parts[i] for i in rng.permutation(len(parts))]
    return batches


def _rate(step: int, total: int) -> float:
    warm = max(1, total // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.55 + 0.45 * math.cos(math.pi * (step - warm) / max(1, total - warm))
