"""Log-probs of recorded tokens: on their own rows, or behind what a hindsight teacher is told.

A row of the batch becomes a tree: its own tokens are the trunk, and each step hangs a branch (hindsight
block, then the step's sampled tokens) where the step began. A branch sees the trunk up to that point and
itself, and its positions go on from there, so each scored token has exactly the context prefix + block +
earlier tokens of the step (c^T of StepOPSD, eq. 2). The numbers are those of one pass per step on its own
full context; what the contexts share is computed once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch
from stepopsd_agent.config.run import Attention
from stepopsd_agent.models.packed.logprobs import Reader, sampled
from stepopsd_agent.models.packed.packing import bins, pack_trees
from stepopsd_agent.models.packed.prefix_tree import Branch, Tree, chunks, parts, tree_tensors
from stepopsd_agent.models.packed.token_budget import TokenBudget, as_budget
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.scoring import Way

Scores = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Part:
    """Some branches of a tree, from its ``first`` on, with as much of the trunk as they need."""

    number: int
    first: int
    tree: Tree

    def within(self, budget: int) -> list["_Part"]:
        """The same as several parts of at most ``budget`` tokens."""
        out: list[_Part] = []
        first = self.first
        for tree in parts(self.tree, budget):
            out.append(_Part(self.number, first, tree))
            first += len(tree.branches)
        return out


def read_trees(
    policy: Policy,
    trees: Sequence[Tree],
    reader: Callable[[Tensor], Reader],
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> list[Scores]:
    """What ``reader`` keeps at each tree's scored places: the trunk's in order, then the branches'.

    Args:
        policy: holds the weights.
        trees: contexts; a branch's first target is predicted from the block's last token, so it needs one.
        reader: made from the ids of the scored tokens, see `output_layer`.
        tokens_per_pass: tokens per forward pass; changes memory, not results. A larger tree is cut, its trunk
            repeated.
        temperature: as in sampling.
        attention: see `LearnerConfig.attention`.

    Returns:
        For each tree the reader's tensors, on the policy's device.
    """
    if any(not b.block for t in trees for b in t.branches):
        raise ValueError("a branch needs a block; a step without hindsight is scored on the trunk")
    budget, how = as_budget(tokens_per_pass, policy.device), policy.attention(attention)
    cut = chunks if how == "padded" else bins
    found: list[dict[int, Scores]] = [{} for _ in trees]
    left = [_Part(n, 0, tree) for n, tree in enumerate(trees)]
    while left:
        left = [small for part in left for small in part.within(budget.tokens)]
        sizes = [len(part.tree) for part in left]
        chosen = next(cut(sizes, budget.tokens))
        some = [left[i].tree for i in chosen]
        cost = sum(map(len, some)) if cut is bins else len(some) * max(map(len, some))
        try:
            with torch.inference_mode(), budget.watch(cost):
                read = _read(policy, some, reader, how, temperature)
        except RuntimeError as error:
            budget.halve(error, cost, max(len(some), len(some[0].branches)))
            continue
        for i, scores in zip(chosen, read, strict=True):
            found[left[i].number][left[i].first] = scores
        done = set(chosen)
        left = [part for i, part in enumerate(left) if i not in done]
    return [_joined(some) for some in found]


def _read(
    policy: Policy, trees: Sequence[Tree], reader: Callable[[Tensor], Reader], how: Way, temperature: float
) -> list[Scores]:
    """One forward pass."""
    if how == "padded":
        rows = tree_tensors(trees, policy.pad_id, policy.device)
        hidden = policy.hidden(rows.ids, rows.select, positions=rows.positions, mask=rows.mask)
        ids = rows.ids[rows.select]
    else:
        pack = pack_trees(trees, policy.device)
        hidden, ids = policy.packed_hidden(pack, how), pack.ids[pack.select]
    columns = policy.read_out(hidden, reader(ids), temperature)
    sizes = [len(t.scored) + sum(len(b.target) for b in t.branches) for t in trees]
    return list(zip(*(torch.split(column, sizes) for column in columns), strict=True))


def _joined(some: dict[int, Scores]) -> Scores:
    """The scores of a tree's parts in the order of its branches."""
    return tuple(map(torch.cat, zip(*(some[first] for first in sorted(some)), strict=True)))


def score_trees(
    policy: Policy,
    trees: Sequence[Tree],
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> list[tuple[Tensor, list[Tensor]]]:
    """Log-probs of the scored trunk columns, in ascending order, and of each branch's target.

    Args:
        policy: holds the weights.
        trees: contexts.
        tokens_per_pass: see `read_trees`, as the others.
        temperature: as in sampling.
        attention: how.

    Returns:
        For each tree ([scored], [[target] per branch]) on CPU; float32, or float64 from a float64 model.
    """
    read = read_trees(
        policy,
        trees,
        sampled,
        tokens_per_pass=tokens_per_pass,
        temperature=temperature,
        attention=attention,
    )
    out = []
    for tree, (logprobs,) in zip(trees, read, strict=True):
        sizes = [len(tree.scored), *(len(b.target) for b in tree.branches)]
        trunk, *targets = torch.split(logprobs.cpu(), sizes)
        out.append((trunk, targets))
    return out


def plain_logprobs(
    policy: Policy,
    batch: Batch,
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> Tensor:
    """[N, T] log-probs of the action tokens on their own rows: student, old or reference."""
    return teacher_logprobs(
        policy,
        batch,
        [[] for _ in range(batch.num_episodes)],
        "inline",
        tokens_per_pass=tokens_per_pass,
        temperature=temperature,
        attention=attention,
    )


def teacher_logprobs(
    policy: Policy,
    batch: Batch,
    blocks: Sequence[Sequence[int]],
    position: str,
    *,
    tokens_per_pass: int | TokenBudget,
    temperature: float = 1.0,
    attention: Attention = "auto",
) -> Tensor:
    """[N, T] log-probs of the action tokens in the hindsight-enriched contexts, zero elsewhere.

    Args:
        policy: holds the teacher's weights.
        batch: rows to score.
        blocks: hindsight ids per episode; an empty one leaves the context as it was.
        position: "inline" right before each step's tokens, "prefix" once, right after the row's first prompt.
        tokens_per_pass: tokens per forward pass; changes memory, not results.
        temperature: as in sampling.
        attention: see `LearnerConfig.attention`.
    """
    rows = [row_tree(batch, n, blocks, position) for n in range(batch.num_rows)]
    read = read_trees(
        policy,
        [tree for tree, _ in rows],
        sampled,
        tokens_per_pass=tokens_per_pass,
        temperature=temperature,
        attention=attention,
    )
    device = batch.tokens.input_ids.device
    out = torch.zeros(batch.tokens.input_ids.shape, dtype=read[0][0].dtype, device=device)
    for n, ((_, columns), (logprobs,)) in enumerate(zip(rows, read, strict=True)):
        out[n, torch.tensor(columns, device=device)] = logprobs.to(device)
    return out


def row_tree(batch: Batch, n: int, blocks: Sequence[Sequence[int]], position: str) -> tuple[Tree, list[int]]:
    """The tree of row n, and the batch column of each scored token in the order of `read_trees`."""
    length = int(batch.tokens.attention_mask[n].sum())
    ids = tuple(batch.tokens.input_ids[n, :length].tolist())
    steps = batch.tokens.step_of_token[n, :length].tolist()
    columns = [t for t, step in enumerate(steps) if step >= 0]
    first = columns[0]
    block = tuple(blocks[int(batch.steps.episode_of_step[steps[first]])])
    if not block:
        return Tree(ids[: columns[-1] + 1], scored=tuple(columns)), columns
    if position == "prefix":
        shifted = tuple(t + len(block) for t in columns)
        return Tree(ids[:first] + block + ids[first : columns[-1] + 1], scored=shifted), columns
    branches = []
    for start, end in step_spans(steps):
        branches.append(Branch(start, block, ids[start:end]))
    return Tree(ids[: branches[-1].at], tuple(branches)), columns


def step_spans(steps: Sequence[int]) -> Iterator[tuple[int, int]]:
    """[start, end) of each run of one step's tokens."""
    start = 0
    for t in range(1, len(steps) + 1):
        if t == len(steps) or steps[t] != steps[start]:
            if steps[start] >= 0:
                yield start, t
            start = t
