"""Teacher scoring over shared prefixes equals one pass per step."""

import numpy as np
import pytest
import torch

from stepopsd_agent.policy import Policy
from stepopsd_agent.rescore import Branch, Tree, chunks, score_trees
from tests.models import tiny


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
def test_score_trees_equal_one_pass_per_step(budget: int) -> None:
    """Every branch sees its trunk up to its place and its own block, whatever the batch layout."""
    policy, trees = tiny(), forest(0)
    for tree, (trunk, branches) in zip(
        trees, score_trees(policy, trees, tokens_per_pass=budget), strict=True
    ):
        for column, got in zip(tree.scored, trunk, strict=True):
            expected = alone(policy, tree.trunk[:column], tree.trunk[column : column + 1])
            torch.testing.assert_close(got[None], expected, atol=1e-5, rtol=0)
        for branch, got in zip(tree.branches, branches, strict=True):
            expected = alone(policy, tree.trunk[: branch.at] + branch.block, branch.target)
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_score_trees_notice_a_branch_at_the_wrong_place() -> None:
    """The comparison above can fail: hanging a branch one token earlier gives other numbers."""
    policy, tree = tiny(), forest(1)[2]
    moved = Tree(
        tree.trunk, tuple(Branch(max(1, b.at - 1), b.block, b.target) for b in tree.branches), tree.scored
    )
    right, wrong = score_trees(policy, [tree, moved], tokens_per_pass=10_000)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(right[1], wrong[1], strict=True))


def test_score_trees_refuse_a_branch_without_block() -> None:
    """Its first token would have nothing before it on the row."""
    with pytest.raises(ValueError, match="needs a block"):
        score_trees(tiny(), [Tree((1, 2, 3), (Branch(2, (), (4,)),))], tokens_per_pass=10)


def test_chunks_cover_all_rows_within_budget() -> None:
    """Every index once; a chunk of more than one row stays within the budget."""
    lengths = [5, 90, 13, 40, 41, 2, 90]
    parts = list(chunks(lengths, 100))
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[i] for i in part) <= 100 for part in parts)
