"""Behaviour cloning: from random weights (or a pretrained model) to a policy worth improving.

Cross-entropy on the expert's commands; on a fresh model also, more lightly, on the environment's words,
which teach it to read. Some steps are shown a second time behind a hindsight block, so that the same weights
can act as a hindsight teacher.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stepopsd_agent.config import HindsightConfig, WarmstartConfig
from stepopsd_agent.demonstrations import Demonstration, Turn
from stepopsd_agent.hindsight import block_ids
from stepopsd_agent.policy import Policy
from stepopsd_agent.prompts import PromptFormat
from stepopsd_agent.rescore import Branch, Tree, tree_tensors


@dataclass(frozen=True)
class Example:
    """A tree to clone: the weight of each trunk token's loss; branch targets weigh 1."""

    tree: Tree
    weights: tuple[float, ...]


def examples(
    demonstration: Demonstration,
    form: PromptFormat,
    config: WarmstartConfig,
    hindsight: HindsightConfig,
    rng: np.random.Generator,
) -> list[Example]:
    """Rows of one demonstration: one per episode in the transcript layout, one per step in the window."""
    turns = demonstration.turns
    chosen = (
        set(rng.permutation(len(turns))[: config.hindsight_steps].tolist())
        if hindsight.mode != "none"
        else set()
    )
    stop = min(form.policy.stop_ids)
    rows: list[tuple[list[int], list[float], list[Branch]]] = []
    shown = ""
    for k, turn in enumerate(turns):
        new_row = not (shown and turn.prompt.startswith(shown))
        if new_row:
            rows.append((form.first_ids(turn.prompt), [], []))
        else:
            rows[-1][0].extend(form.turn_ids(turn.prompt[len(shown) :], closed=True))
        ids, weights, branches = rows[-1]
        weights.extend([config.observation_weight] * (len(ids) - len(weights)))
        if k in chosen:
            branches.append(_hindsight_branch(demonstration, turn, len(ids), form, hindsight, stop, rng))
        command, _ = _command_ids(form, turn.command, stop)
        ids.extend(command)
        weights.extend([1.0 if turn.command == turn.label else 0.0] * len(command))
        shown = turn.prompt + turn.command
    return [
        Example(Tree(tuple(ids), tuple(branches), tuple(range(1, len(ids)))), (0.0, *weights[1:]))
        for ids, weights, branches in rows
    ]


def _command_ids(form: PromptFormat, command: str, stop: int) -> tuple[list[int], int]:
    ids = [*form.policy.encode([command])[0], stop]
    return ids, len(ids)


def _hindsight_branch(
    demonstration: Demonstration,
    turn: Turn,
    at: int,
    form: PromptFormat,
    hindsight: HindsightConfig,
    stop: int,
    rng: np.random.Generator,
) -> Branch:
    """The step again, behind the block a failed attempt would see (with a peer) or the bare outcome."""
    peer = demonstration.peer if "peer" in hindsight.mode and rng.random() < 0.75 else None
    success = False if peer is not None else demonstration.episode.success
    block = block_ids(form.policy, hindsight, success, peer) or form.policy.encode(["\n"])[0]
    target, _ = _command_ids(form, turn.informed if peer is not None else turn.label, stop)
    return Branch(at, tuple(block), tuple(target))


def clone_loss(policy: Policy, batch: Sequence[Example]) -> Tensor:
    """Weighted mean cross-entropy (nats) over trunk tokens and branch targets."""
    tensors = tree_tensors([e.tree for e in batch], policy.pad_id, policy.device)
    weights = torch.zeros(tensors.ids.shape)
    for n, example in enumerate(batch):
        size = len(example.weights)
        weights[n, :size] = torch.tensor(example.weights)
        weights[n, size:] = 1.0
    select = tensors.select & (weights.to(policy.device) > 0)
    logprobs = policy.token_logprobs(tensors.ids, select, positions=tensors.positions, mask=tensors.mask)
    kept = weights.to(policy.device) * select
    return -(kept * logprobs).sum() / kept.sum()


def clone(
    policy: Policy,
    data: Sequence[Example],
    config: WarmstartConfig,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Fit the policy to the examples and return the loss of each optimizer step.

    Linear warm-up over a twentieth of the steps, then cosine decay to a tenth of the peak rate.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(data)) for _ in range(config.passes)])
    batches = [order[i : i + config.batch_rows] for i in range(0, len(order), config.batch_rows)]
    optimizer = torch.optim.AdamW(
        policy.model.parameters(), lr=config.lr, weight_decay=0.01, betas=(0.9, 0.95)
    )
    losses = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _rate(step, len(batches))
        loss = clone_loss(policy, [data[i] for i in batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        on_step(step, losses[-1])
    return losses


def _rate(step: int, total: int) -> float:
    warm = max(1, total // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.55 + 0.45 * math.cos(math.pi * (step - warm) / max(1, total - warm))
