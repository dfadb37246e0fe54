"""Teacher log-probs: those of one pass per step on its own full context, the common prefix shared.

A row of the batch becomes a tree: its own tokens are the trunk, and each step hangs a branch (hindsight
block, then the step's sampled tokens) where the step began. A branch sees the trunk up to that point and
itself, and its positions go on from there, so each scored token has exactly the context prefix + block +
earlier tokens of the step (c^T of StepOPSD, eq. 2).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.policy import Policy


@dataclass(frozen=True)
class Branch:
    """Tokens that continue a trunk elsewhere than it went on itself.

    Attributes:
        at: trunk tokens the branch sees.
        block: ids given, not scored.
        target: ids scored.
    """

    at: int
    block: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """One trunk with its branches.

    Attributes:
        trunk: ids of the row.
        branches: in any order.
        scored: trunk columns scored as they stand.
    """

    trunk: tuple[int, ...]
    branches: tuple[Branch, ...] = ()
    scored: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Tokens a forward pass over the tree processes."""
        return len(self.trunk) + sum(len(b.block) + len(b.target) for b in self.branches)


@dataclass(frozen=True)
class TreeTensors:
    """Trees side by side: ids, positions, selection [N, T]; mask [N, T, T], None when no tree branches."""

    ids: Tensor
    positions: Tensor
    select: Tensor
    mask: Tensor | None


def tree_tensors(trees: Sequence[Tree], pad_id: int, device: torch.device) -> TreeTensors:
    """Lay trees out as right-padded rows, trunk first, then the branches in order."""
    width = max(map(len, trees))
    ids = torch.full((len(trees), width), pad_id, dtype=torch.long)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    select = torch.zeros(len(trees), width, dtype=torch.bool)
    owner = torch.zeros(len(trees), width, dtype=torch.long)  # 0 the trunk, k the k-th branch, -1 padding
    sight = torch.zeros(len(trees), width, dtype=torch.long)  # how many trunk tokens a token sees
    for n, tree in enumerate(trees):
        size = len(tree.trunk)
        ids[n, :size] = torch.tensor(tree.trunk)
        positions[n, :size] = torch.arange(size)
        sight[n, :size] = torch.arange(size) + 1
        select[n, list(tree.scored)] = True
        for k, branch in enumerate(tree.branches, start=1):
            end = size + len(branch.block) + len(branch.target)
            ids[n, size:end] = torch.tensor(branch.block + branch.target)
            positions[n, size:end] = branch.at + torch.arange(end - size)
            sight[n, size:end], owner[n, size:end] = branch.at, k
            select[n, end - len(branch.target) : end] = True
            size = end
        owner[n, size:] = -1
    mask = _tree_mask(owner, sight).to(device) if any(t.branches for t in trees) else None
    return TreeTensors(ids.to(device), positions.to(device), select.to(device), mask)


def _tree_mask(owner: Tensor, sight: Tensor) -> Tensor:
    column = torch.arange(owner.shape[1])
    trunk = (owner[:, None, :] == 0) & (column < sight[:, :, None])
    causal = column[:, None] >= column[None, :]
    own = (owner[:, :, None] == owner[:, None, :]) & causal & (owner[:, :, None] != 0)
    return trunk | own  # (N, T, T); a padding token sees earlier padding and itself


def score_trees(
    policy: Policy, trees: Sequence[Tree], *, tokens_per_pass: int, temperature: float = 1.0
) -> list[tuple[Tensor, list[Tensor]]]:
    """Log-probs of the scored trunk columns and of each branch's target.

    A branch's first target needs the token before it on the same row: the block's last, or, where the block
    is empty, a branch repeats the trunk token it continues (the caller gets this right by never making a
    branch without a block).

    Returns:
        For each tree ([scored], [[target] per branch]) on CPU, float32.
    """
    if any(not b.block for t in trees for b in t.branches):
        raise ValueError("a branch needs a block; a step without hindsight is scored on the trunk")
    out: list[tuple[Tensor, list[Tensor]]] = [(torch.empty(0), [])] * len(trees)
    for chunk in chunks([len(t) for t in trees], tokens_per_pass):
        tensors = tree_tensors([trees[i] for i in chunk], policy.pad_id, policy.device)
        with torch.inference_mode():
            scores = policy.token_logprobs(
                tensors.ids,
                tensors.select,
                positions=tensors.positions,
                mask=tensors.mask,
                temperature=temperature,
            ).cpu()
        for row, i in enumerate(chunk):
            out[i] = _unpack(trees[i], scores[row])
    return out


def _unpack(tree: Tree, scores: Tensor) -> tuple[Tensor, list[Tensor]]:
    start, targets = len(tree.trunk), []
    for branch in tree.branches:
        begin = start + len(branch.block)
        start = begin + len(branch.target)
        targets.append(scores[begin:start])
    return scores[list(tree.scored)], targets


def chunks(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices by length, cut so that rows x longest stays within ``budget`` tokens (one row at least)."""
    chunk: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if chunk and (len(chunk) + 1) * lengths[i] > budget:
            yield chunk
            chunk = []
        chunk.append(i)
    if chunk:
        yield chunk


def plain_logprobs(policy: Policy, batch: Batch, *, tokens_per_pass: int, temperature: float = 1.0) -> Tensor:
    """[N, T] log-probs of the action tokens on their own rows: student, old or reference."""
    return teacher_logprobs(
        policy,
        batch,
        [[] for _ in range(batch.num_episodes)],
        "inline",
        tokens_per_pass=tokens_per_pass,
        temperature=temperature,
    )


def teacher_logprobs(
    policy: Policy,
    batch: Batch,
    blocks: Sequence[Sequence[int]],
    position: str,
    *,
    tokens_per_pass: int,
    temperature: float = 1.0,
) -> Tensor:
    """[N, T] log-probs of the action tokens in the hindsight-enriched contexts, zero elsewhere.

    Args:
        policy: holds the teacher's weights.
        batch: rows to score.
        blocks: hindsight ids per episode; an empty one leaves the context as it was.
        position: "inline" right before each step's tokens, "prefix" once, right after the row's first prompt.
        tokens_per_pass: padded tokens per forward pass; changes memory, not results.
        temperature: as in sampling.
    """
    rows = [_row_tree(batch, n, blocks, position) for n in range(batch.tokens.input_ids.shape[0])]
    scores = score_trees(
        policy, [tree for tree, _ in rows], tokens_per_pass=tokens_per_pass, temperature=temperature
    )
    out = torch.zeros(batch.tokens.input_ids.shape)
    for n, ((_, columns), (trunk, branches)) in enumerate(zip(rows, scores, strict=True)):
        out[n, torch.tensor(columns, dtype=torch.long)] = torch.cat([trunk, *branches])
    return out.to(batch.tokens.input_ids.device)


def _row_tree(batch: Batch, n: int, blocks: Sequence[Sequence[int]], position: str) -> tuple[Tree, list[int]]:
    """The tree of row n, and the batch column of each score in the order ``score_trees`` returns them."""
    length = int(batch.tokens.attention_mask[n].sum())
    ids = tuple(batch.tokens.input_ids[n, :length].tolist())
    steps = batch.tokens.step_of_token[n, :length].tolist()
    columns = [t for t, step in enumerate(steps) if step >= 0]
    first = columns[0]
    block = tuple(blocks[int(batch.steps.episode_of_step[steps[first]])])
    if not block:
        return Tree(ids, scored=tuple(columns)), columns
    if position == "prefix":
        shifted = tuple(t + len(block) for t in columns)
        return Tree(ids[:first] + block + ids[first:], scored=shifted), columns
    branches = []
    for start, end in _spans(steps):
        branches.append(Branch(start, block, ids[start:end]))
    return Tree(ids[: branches[-1].at], tuple(branches)), columns


def _spans(steps: Sequence[int]) -> Iterator[tuple[int, int]]:
    """[start, end) of each run of one step's tokens."""
    start = 0
    for t in range(1, len(steps) + 1):
        if t == len(steps) or steps[t] != steps[start]:
            if steps[start] >= 0:
                yield start, t
            start = t
