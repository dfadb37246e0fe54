"""Scoring over shared prefixes equals one pass per context."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent.config import Attention
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.packed import Branch, Tree
from tests.helpers.models import crowded, tiny


def ids(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Random token ids."""
    return tuple(rng.integers(1, 300, count).tolist())


def forest(seed: int) -> list[Tree]:
    """Six trees, the first without branches."""
    rng = np.random.default_rng(seed)
    trees = []
    for n in range(6):
        trunk = ids(rng, int(rng.integers(40, 90)))
        branches = tuple(
            Branch(
                int(rng.integers(1, len(trunk) + 1)),
                ids(rng, int(rng.integers(1, 12))),
                ids(rng, int(rng.integers(1, 7))),
            )
            for _ in range(4 if n else 0)
        )
        trees.append(Tree(trunk, branches, (3, 7, 30)))
    return trees


def alone(policy: Policy, context: tuple[int, ...], target: tuple[int, ...]) -> torch.Tensor:
    """Log-probs of the target in one pass over its own full context."""
    row = torch.tensor([context + target])
    select = torch.zeros_like(row, dtype=torch.bool)
    select[0, len(context) :] = True
    with torch.inference_mode():
        return policy.token_logprobs(row, select)[0, len(context) :]


@pytest.mark.parametrize("budget", [1, 400, 100_000])
def test_scorer_logprobs_equal_one_pass_per_context(budget: int) -> None:
    """Every branch sees its trunk up to its place and its own block, whatever the batch layout."""
    policy, trees = tiny(), forest(0)
    scored = Scorer(policy, tokens_per_pass=budget).logprobs(trees)
    for tree, (trunk, branches) in zip(trees, scored, strict=True):
        for column, got in zip(tree.scored, trunk, strict=True):
            expected = alone(policy, tree.trunk[:column], tree.trunk[column : column + 1])
            torch.testing.assert_close(got[None], expected, atol=1e-5, rtol=0)
        for branch, got in zip(tree.branches, branches, strict=True):
            expected = alone(policy, tree.trunk[: branch.at] + branch.block, branch.target)
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_scorer_logprobs_in_float32_are_those_of_rows_of_their_own_to_a_bit_or_two() -> None:
    """Long rows, so that float32 sums over keys would show (1.4e-6): they are made in float64."""
    policy, rng = tiny(), np.random.default_rng(0)
    policy.load_state({name: 2 * weight for name, weight in policy.state().items()})
    trunk = ids(rng, 300)
    branches = tuple(Branch(at, ids(rng, 7), ids(rng, 5)) for at in range(10, 300, 9))
    rows = [
        Tree(trunk[: b.at] + b.block + b.target, scored=tuple(range(b.at + 7, b.at + 12))) for b in branches
    ]
    ((_, shared),) = Scorer(policy, tokens_per_pass=5000).logprobs([Tree(trunk, branches)])
    alone = [trunk for trunk, _ in Scorer(policy, tokens_per_pass=2000).logprobs(rows)]
    torch.testing.assert_close(torch.cat(shared), torch.cat(alone), atol=1e-6, rtol=0)


def test_scorer_logprobs_show_a_branch_at_the_wrong_place() -> None:
    """The comparison above can fail: hanging a branch one token earlier gives other numbers."""
    policy, tree = tiny(), forest(1)[2]
    moved = Tree(
        tree.trunk, tuple(Branch(max(1, b.at - 1), b.block, b.target) for b in tree.branches), tree.scored
    )
    right, wrong = Scorer(policy, tokens_per_pass=10_000).logprobs([tree, moved])
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(right[1], wrong[1], strict=True))


def test_scorer_refuses_a_branch_without_block() -> None:
    """Its first token would have nothing before it on the row."""
    with pytest.raises(ValueError, match="needs a block"):
        Scorer(tiny(), tokens_per_pass=10).logprobs([Tree((1, 2, 3), (Branch(2, (), (4,)),))])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("budget", [1, 150, 100_000])
@pytest.mark.parametrize("how", ["segments", "flex", "padded"])
def test_scorer_logprobs_agree_whatever_the_attention_and_the_budget(how: Attention, budget: int) -> None:
    """float64: equal to one pass per context to rounding, trees cut to the budget or not."""
    policy, trees = tiny("float64"), forest(3)
    scored = Scorer(policy, tokens_per_pass=budget, attention=how).logprobs(trees)
    for tree, (trunk, branches) in zip(trees, scored, strict=True):
        for column, got in zip(tree.scored, trunk, strict=True):
            expected = alone(policy, tree.trunk[:column], tree.trunk[column : column + 1])
            torch.testing.assert_close(got[None], expected, atol=1e-10, rtol=0)
        for branch, got in zip(tree.branches, branches, strict=True):
            expected = alone(policy, tree.trunk[: branch.at] + branch.block, branch.target)
            torch.testing.assert_close(got, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("how", "processed"), [("segments", 9 + 6), ("padded", 2 * 9)])
def test_scorer_counts_the_tokens_it_processes(how: Attention, processed: int) -> None:
    """Packed, those there are; padded, rows times the longest."""
    trees = [Tree((1, 2, 3, 4), (Branch(2, (5, 6), (7, 8, 9)),)), Tree((1, 2, 3, 4, 5, 6), scored=(2,))]
    scorer = Scorer(tiny(), tokens_per_pass=1000, attention=how)
    scorer.logprobs(trees)
    assert scorer.budget.take() == processed


def test_scorer_divides_the_logits_by_its_temperature() -> None:
    """As sampling does."""
    policy = tiny("float64")
    row = torch.tensor([[1, 2, 3, 4]])
    ((scored, _),) = Scorer(policy, temperature=0.5).logprobs([Tree((1, 2, 3, 4), scored=(3,))])
    with torch.inference_mode():
        expected = policy.token_logprobs(row, row == 4, temperature=0.5)[0, 3:]
        plain = policy.token_logprobs(row, row == 4)[0, 3:]
    torch.testing.assert_close(scored, expected, atol=1e-10, rtol=0)
    assert (scored - plain).abs() > 1e-3


def test_scorer_goes_on_where_memory_runs_out() -> None:
    """Passes above 120 tokens fail: the budget halves until they do not, and the numbers stay."""
    policy, trees = tiny("float64"), forest(4)
    expected = Scorer(policy, tokens_per_pass=100_000).logprobs(trees)
    scorer = Scorer(policy, tokens_per_pass=400)
    with crowded(policy, 120), pytest.warns(RuntimeWarning, match="out of memory"):
        got = scorer.logprobs(trees)
    assert scorer.budget.halvings >= 1 and scorer.budget.tokens < 400  # and it keeps to that
    for (trunk, branches), (same, others) in zip(got, expected, strict=True):
        torch.testing.assert_close(trunk, same, atol=1e-10, rtol=0)
        for one, other in zip(branches, others, strict=True):
            torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_scorer_says_what_to_do_where_one_row_does_not_fit() -> None:
    """Nothing is left to halve."""
    policy = tiny()
    with crowded(policy, 5), pytest.raises(RuntimeError, match="one row of 8 tokens does not fit"):
        Scorer(policy, tokens_per_pass=1000).logprobs([Tree(tuple(range(1, 9)), scored=(3,))])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": "warm"}, "temperature is 'warm'; give a number"),
        ({"temperature": float("nan")}, "temperature is nan; give a finite number"),
        ({"tokens_per_pass": "many"}, "tokens_per_pass is 'many'; it must be at least 1, or 'auto'"),
        ({"tokens_per_pass": 0.5}, "tokens_per_pass is 0.5; it must be at least 1, or 'auto'"),
    ],
)
def test_scorer_refuses_settings_that_are_no_numbers(settings: Any, message: str) -> None:
    """In one sentence, before anything is read."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Scorer(tiny(), **settings)
