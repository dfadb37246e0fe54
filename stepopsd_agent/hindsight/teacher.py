"""Log-probabilities of a batch's sampled tokens in their own contexts and in hindsight-enriched ones.

A row of the batch becomes a prefix tree: its own tokens are the trunk, and each step adds a branch
(hindsight block, then the step's sampled tokens) where the step began. A branch sees the trunk up to that
point and itself, and its positions go on from there, so each scored token has exactly the context prefix +
block + earlier tokens of the step (c^T of StepOPSD, arXiv 2605.27140, eq. 2). The numbers are those of one
forward pass per step on its own full context; what contexts share is computed once.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch, TopK, kind_masks
from stepopsd_agent.config import Position
from stepopsd_agent.hindsight.by_step import Blocks, tree_by_step
from stepopsd_agent.models import Scorer
from stepopsd_agent.models.packed import Branch, Tree, likeliest, sampled


def batch_logprobs(
    scorer: Scorer,
    batch: Batch,
    blocks: Blocks = (),
    position: Position = "inline",
    apart: Collection[int] = (),
) -> Tensor:
    """[N, T] log-probabilities (nats) of the action tokens, zero elsewhere.

    Args:
        scorer: holds the weights: the student's, the reference's or the teacher's.
        batch: rows to score.
        blocks: hindsight of each episode; none scores every row in its own context.
        position: where the blocks stand.
        apart: rows that share no pass with the others.
    """
    rows = [row_tree(batch, n, blocks, position) for n in range(batch.num_rows)]
    read: dict[int, Tensor] = {}
    for numbers in ([n for n in range(batch.num_rows) if n not in apart], sorted(apart)):
        scores = scorer.read([rows[n][0] for n in numbers], sampled)
        read.update((n, logprobs) for n, (logprobs,) in zip(numbers, scores, strict=True))
    device = batch.tokens.input_ids.device
    out = torch.zeros(batch.tokens.input_ids.shape, dtype=read[0].dtype, device=device)
    for n, (_, columns) in enumerate(rows):
        out[n, torch.tensor(columns, device=device)] = read[n].to(device)
    return out


def untold_rows(batch: Batch, blocks: Blocks, position: Position) -> frozenset[int]:
    """The rows whose context no hindsight changes."""
    rows = range(batch.num_rows)
    return frozenset(
        n for n in rows if row_tree(batch, n, blocks, position) == row_tree(batch, n, (), position)
    )


def batch_topk(
    scorer: Scorer, batch: Batch, top_k: int, blocks: Blocks = (), position: Position = "inline"
) -> TopK:
    """The `top_k` likeliest tokens at every action token in the contexts of `batch_logprobs`; 0 keeps all."""
    trees = [row_tree(batch, n, blocks, position)[0] for n in range(batch.num_rows)]
    # A tree lists its scored tokens in the order of the row's columns: trunk and steps both go forward.
    rows = scorer.read(trees, lambda _: likeliest(top_k))
    return TopK(torch.cat([ids for ids, _ in rows]), torch.cat([logprobs for _, logprobs in rows]))


def row_tree(batch: Batch, n: int, blocks: Blocks, position: Position) -> tuple[Tree, list[int]]:
    """The tree of row n, and the batch column of each scored token in the order of `Scorer.read`."""
    length = int(batch.tokens.attention_mask[n].sum())
    ids = tuple(batch.tokens.input_ids[n, :length].tolist())
    steps = batch.tokens.step_of_token[n, :length].tolist()
    columns = [t for t, step in enumerate(steps) if step >= 0]
    first = columns[0]
    block = blocks[int(batch.steps.episode_of_step[steps[first]])] if blocks else ()
    if isinstance(block, Mapping):
        places = {int(batch.steps.index_in_episode[steps[s]]): (s, e) for s, e in step_ranges(steps)}
        return tree_by_step(ids, places, block, position), columns
    if not block:
        return Tree(ids[: columns[-1] + 1], scored=tuple(columns)), columns
    if position == "prefix":
        shifted = tuple(t + len(block) for t in columns)
        return Tree(ids[:first] + tuple(block) + ids[first : columns[-1] + 1], scored=shifted), columns
    branches = [Branch(start, tuple(block), ids[start:end]) for start, end in step_ranges(steps)]
    return Tree(ids[: branches[-1].at], tuple(branches)), columns


def step_ranges(steps: Sequence[int]) -> Iterator[tuple[int, int]]:
    """[start, end) of each run of one step's tokens in a row of `step_of_token`."""
    start = 0
    for t in range(1, len(steps) + 1):
        if t == len(steps) or steps[t] != steps[start]:
            if steps[start] >= 0:
                yield start, t
            start = t


def gap_metrics(batch: Batch, rows: Tensor | None = None) -> dict[str, float]:
    """Mean |log p_teacher - log p_student| (nats) of each kind of token; empty without a teacher.

    Args:
        batch: with the columns of both.
        rows: [N] bool, the rows that the teacher was asked about; all of them when absent.
    """
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    if teacher is None or student is None or (rows is not None and not rows.any()):
        return {}
    gap = (teacher - student).abs()
    asked = batch.action_mask if rows is None else batch.action_mask & rows[:, None]
    return {
        f"signal/gap_{kind}": float(ops.masked_mean(gap, mask & asked))
        for kind, mask in kind_masks(batch).items()
    }
