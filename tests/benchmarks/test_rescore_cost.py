"""The benchmark of hindsight scoring: its rows hold what its trees hold, and its targets can be missed."""

import copy
from typing import Any

import pytest
import torch

from benchmarks.learner import rescore_cost
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.models import Scorer
from tests.agent.learner.test_learner import batch_for
from tests.helpers.models import tiny

BLOCKS = [[7, 8, 9], [], [11], [12, 13]]
GOOD: dict[str, Any] = {
    "correctness_inline": {"fewer_tokens": 5.7, "less_time": 4.9, "largest_difference": 2e-6},
    "float64_difference": 1e-14,
    "correctness_prefix": {"over_plain": 2.03},
}


@pytest.mark.parametrize("how", ["segments", "padded"])
def test_rows_of_the_benchmark_give_what_its_trees_give(how: Any) -> None:
    """Every action token has its full context on a row of its own."""
    policy = tiny()
    batch = batch_for(policy)
    scorer = Scorer(policy, tokens_per_pass=1000, attention=how)
    rows = rescore_cost.by_rows(scorer, batch, BLOCKS)
    trees = batch_logprobs(Scorer(policy, tokens_per_pass=1000), batch, BLOCKS)
    torch.testing.assert_close(rows, trees, atol=1e-5, rtol=0)
    assert scorer.budget.take() > int(batch.tokens.attention_mask.sum())


def test_step_rows_hold_the_whole_context_and_score_the_step() -> None:
    """A row per step: what came before it, the block, and its tokens."""
    policy = tiny()
    batch = batch_for(policy)
    rows, places = rescore_cost.step_rows(batch, BLOCKS)
    assert len(rows) == batch.num_steps
    n, column = places[0][0]
    before = batch.tokens.input_ids[n, :column].tolist()
    assert list(rows[0].trunk[: len(before) + 3]) == [*before, 7, 8, 9]
    assert rows[0].scored == tuple(range(len(before) + 3, len(rows[0].trunk)))


def test_prefix_costs_the_block_once_per_row() -> None:
    """Teacher and student together: two passes and the blocks."""
    policy = tiny()
    batch = batch_for(policy)
    found = rescore_cost.prefix(policy, batch, BLOCKS, 1000)
    assert found["teacher"] == found["plain"] + sum(map(len, BLOCKS))
    assert found["over_plain"] == round(2 + sum(map(len, BLOCKS)) / found["plain"], 3)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("correctness_inline", "fewer_tokens", 4.9),
        ("correctness_inline", "less_time", 2.9),
        ("correctness_inline", "largest_difference", 2e-5),
        ("correctness_prefix", "over_plain", 2.3),
    ],
)
def test_every_target_can_be_missed(part: str, name: str, value: float) -> None:
    """Exit 1 follows from any of them."""
    assert rescore_cost.reached(GOOD)
    bad = copy.deepcopy(GOOD)
    bad[part][name] = value
    assert not rescore_cost.reached(bad)
    assert not rescore_cost.reached({**GOOD, "float64_difference": 1e-8})
