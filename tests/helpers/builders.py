"""Small batches for tests: the same content in any row layout, row order and padding."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from hypothesis import settings
from torch import Tensor

from stepopsd_agent.batch import KINDS, Batch, Past, Row, Tokens, TopK, Transitions, batch_from_lists
from stepopsd_agent.batch.declaring import OWN

Layout = Literal["transcript", "window"]
PROMPT = 2
"""Tokens at the head of every row."""
steady = settings(deadline=None)
"""For property tests on tensors: a first call or a busy machine may take long, which is no failure."""
few = settings(max_examples=15, deadline=None)
"""Likewise, where each example costs more."""


@dataclass(frozen=True)
class Turn:
    """What one step sampled, in nats, and how many tokens of observation follow it."""

    student: tuple[float, ...]
    teacher: tuple[float, ...]
    old: tuple[float, ...]
    seen: int = 1
    reward: float = 0.0
    anchor: int = 0
    action: tuple[int, int] | None = None
    kind: str = "act"
    value: float = 0.0
    mc_value: float = 0.0
    distance: int = 0
    gold_seen: float = 0.0
    gold_answer_logprob: float = -1.0


@dataclass(frozen=True)
class Attempt:
    """One episode."""

    group: int
    episode_return: float
    turns: tuple[Turn, ...]
    last_anchor: int = -1
    last_distance: int = 0
    first_gold_seen: float = 0.0
    informed: bool = True


def turn(size: int, gap: float | Sequence[float] = 0.0, **fields: Any) -> Turn:
    """A turn of `size` tokens at log-probability -1, the teacher's `gap` above that."""
    gaps = [gap] * size if isinstance(gap, float | int) else list(gap)
    return Turn((-1.0,) * size, tuple(-1.0 + value for value in gaps), (-1.0,) * size, **fields)


def random_attempts(
    seed: int, groups: int = 2, size: int = 3, most_turns: int = 4, most_tokens: int = 5
) -> list[Attempt]:
    """Episodes with returns 0 or 1, log-probabilities below 0 and an action somewhere in every turn.

    Every optional column has random values, too.
    """
    rng = np.random.default_rng(seed)

    def logprobs(count: int) -> tuple[float, ...]:
        return tuple(float(x) for x in -rng.exponential(1.0, count) - 0.001)

    def one_turn() -> Turn:
        count = int(rng.integers(1, most_tokens + 1))
        start, end = sorted(int(x) for x in rng.integers(0, count + 1, 2))
        return Turn(
            student=logprobs(count),
            teacher=logprobs(count),
            old=logprobs(count),
            seen=int(rng.integers(0, 3)),
            reward=float(rng.integers(0, 2)),
            anchor=int(rng.integers(0, 3)),
            action=(start, end),
            kind=KINDS[int(rng.integers(1, len(KINDS)))],
            value=float(rng.normal()),
            mc_value=float(rng.integers(0, 10)) / 9,
            distance=int(rng.integers(0, 9)) if rng.random() < 0.9 else -2,
            gold_seen=float(rng.integers(0, 4)) / 3,
            gold_answer_logprob=-float(rng.exponential(1.0)),
        )

    return [
        Attempt(
            group,
            float(rng.integers(0, 2)),
            tuple(one_turn() for _ in range(rng.integers(1, most_turns + 1))),
            last_anchor=int(rng.integers(0, 4)),
            last_distance=int(rng.choice([-2, 0, 1, 5])),
            first_gold_seen=float(rng.integers(0, 2)) / 3,
            informed=bool(rng.integers(0, 2)),
        )
        for group in range(groups)
        for _ in range(size)
    ]


def build(attempts: Sequence[Attempt], layout: Layout = "transcript", pad_id: int = 0) -> Batch:
    """The batch of these episodes; actions are put in the steps table when every turn has one."""
    rows: list[Row] = []
    steps: list[Row] = []
    ranges = all(one.action is not None for attempt in attempts for one in attempt.turns)
    for number, attempt in enumerate(attempts):
        for index, one in enumerate(attempt.turns, start=1):
            if index == 1 or layout == "window":
                rows.append(_row([-1] * PROMPT, [0.0] * PROMPT, [0.0] * PROMPT, [0.0] * PROMPT))
            step, blank = [len(steps)] * len(one.old) + [-1] * one.seen, (0.0,) * one.seen
            rows[-1] = _joined(
                rows[-1], _row(step, one.old + blank, one.student + blank, one.teacher + blank)
            )
            after = attempt.turns[index].anchor if index < len(attempt.turns) else attempt.last_anchor
            steps.append(_step(number, index, one, after, ranges))
    episodes: list[Row] = [
        {
            "group_of_episode": attempt.group,
            "episode_return": attempt.episode_return,
            "success": attempt.episode_return > 0,
            "last_distance": attempt.last_distance,
            "first_gold_seen": attempt.first_gold_seen,
            "informed": attempt.informed,
        }
        for attempt in attempts
    ]
    batch = batch_from_lists(rows, steps, episodes, pad_id)
    topk = _half(int(batch.action_mask.sum()))
    made = replace(batch, teacher_topk=topk, inferred_transitions=_no_transitions(), past=past())
    return with_own_columns(made)


def _half(places: int) -> TopK:
    """A teacher that gives a half to token 0 and a quarter to token 1, everywhere."""
    return TopK(torch.tensor([[0, 1]] * places), torch.tensor([[0.5, 0.25]] * places).log())


def _no_transitions() -> Transitions:
    """No inferred transitions: every transition was taken."""
    return Transitions(*[torch.zeros(0, dtype=torch.int64)] * 4)


def past(
    *edges: tuple[int, int, int, bool], returns: Sequence[tuple[int, float, int]] = (), keys: int = 3
) -> Past:
    """The past of these edges (group, key before, key after, won) and returns (group, return, steps).

    Args:
        edges: different ones.
        returns: of episodes.
        keys: so many of the three kinds of key are there, all with the same numbers.
    """
    group, before, after, won = (torch.tensor([edge[k] for edge in edges]) for k in range(4))
    names = (("anchor", "next_anchor"), ("state", "next_state"), ("text_key", "next_text_key"))[:keys]
    columns = {name: key.long() for pair in names for name, key in zip(pair, (before, after), strict=True)}
    of, values, steps = (torch.tensor([one[k] for one in returns]) for k in range(3))
    return Past(group.long(), won.bool(), of.long(), values.float(), steps.long(), **columns)


def random_batch(seed: int, layout: Layout = "transcript", **sizes: int) -> Batch:
    """`build` of `random_attempts`, each group with a past of its own."""
    rng, batch = np.random.default_rng([seed, 1]), build(random_attempts(seed, **sizes), layout)
    groups = range(int(batch.episodes.group_of_episode.max()) + 1)
    edges = {
        (group, int(rng.integers(0, 3)), int(rng.integers(0, 4)), bool(rng.integers(0, 2)))
        for group in groups
        for _ in range(rng.integers(0, 5))
    }
    returns = [(group, float(rng.integers(0, 2)), int(rng.integers(1, 5))) for group in groups for _ in "ab"]
    return replace(batch, past=past(*sorted(edges), returns=returns))


def with_own_columns(batch: Batch) -> Batch:
    """The batch with every column that `register_column` has declared, in the numbers of another."""
    like = {
        "tokens": batch.tokens.old_logprobs,
        "steps": batch.steps.reward,
        "episodes": batch.episodes.episode_return,
    }
    own = {}
    for name, spec in OWN.items():
        column, dtype = like[spec.metadata["table"]], spec.metadata["dtype"]
        own[name] = column if dtype.is_floating_point else column.to(dtype)
    return replace(batch, own=own)


def by_step(batch: Batch, values: Tensor) -> list[list[float]]:
    """The values [N, T] of every step's tokens, whatever row they lie in."""
    return [values[batch.tokens.step_of_token == step].tolist() for step in range(batch.num_steps)]


def permuted(batch: Batch, order: Sequence[int]) -> Batch:
    """The batch with its rows in another order."""
    return with_own_columns(replace(batch, tokens=batch.tokens.rows(torch.tensor(order)), own={}))


def padded(batch: Batch, left: int, right: int) -> Batch:
    """The batch with more columns of padding on both sides."""
    columns = {}
    for spec in fields(Tokens):
        column = getattr(batch.tokens, spec.name)
        if column is not None:
            empty = -1 if spec.name == "step_of_token" else 0
            columns[spec.name] = torch.nn.functional.pad(column, (left, right), value=empty)
    return with_own_columns(replace(batch, tokens=Tokens(**columns), own={}))


def with_steps_of(batch: Batch, step_of_token: Tensor) -> Batch:
    """The batch with another segmentation, right or wrong."""
    return replace(batch, tokens=replace(batch.tokens, step_of_token=step_of_token), teacher_topk=None)


def _row(
    step: Sequence[int], old: Sequence[float], student: Sequence[float], teacher: Sequence[float]
) -> Row:
    """Tokens numbered by their place among those given."""
    return {
        "input_ids": list(range(5, 5 + len(step))),
        "step_of_token": step,
        "old_logprobs": old,
        "student_logprobs": student,
        "teacher_logprobs": teacher,
    }


def _joined(first: Row, second: Row) -> Row:
    """Both rows, one after the other."""
    return {
        "input_ids": [*first["input_ids"], *second["input_ids"]],
        "step_of_token": [*first["step_of_token"], *second["step_of_token"]],
        "old_logprobs": [*first["old_logprobs"], *second["old_logprobs"]],
        "student_logprobs": [*first["student_logprobs"], *second["student_logprobs"]],
        "teacher_logprobs": [*first["teacher_logprobs"], *second["teacher_logprobs"]],
    }


def _step(episode: int, index: int, one: Turn, after: int, ranges: bool) -> Row:
    """The row of the steps table; every key is the anchor."""
    row: Row = {
        "episode_of_step": episode,
        "index_in_episode": index,
        "reward": one.reward,
        "anchor": one.anchor,
        "state": one.anchor,
        "text_key": one.anchor,
        "next_anchor": after,
        "next_state": after,
        "next_text_key": after,
        "lifted_distance": one.anchor % 7 - 1,
        "next_lifted_distance": after % 7 - 1,
        "valid": True,
        "kind": KINDS.index(one.kind),
        "value": one.value,
        "mc_value": one.mc_value,
        "optimal_distance": one.distance,
        "gold_seen": one.gold_seen,
        "gold_answer_logprob": one.gold_answer_logprob,
    }
    if ranges and one.action is not None:
        row["action_start"], row["action_end"] = one.action
    return row
