"""Rows and trees in one sequence, and trees cut to size."""

import pytest
import torch

from stepopsd_agent.models.packed import Branch, Tree, pack_rows
from stepopsd_agent.models.packed.packing import Pack, Piece, pack_trees, split_tree
from stepopsd_agent.models.packed.token_budget import consecutive_parts

CPU = torch.device("cpu")
TREE = Tree(
    trunk=(10, 11, 12, 13),
    branches=(Branch(2, (20,), (21, 22)), Branch(4, (30, 31), (32,))),
    scored=(1, 3),
)


def test_pack_trees_lays_branches_behind_their_trunk() -> None:
    """Positions go on from where a branch hangs; targets and the trunk's scored columns are selected."""
    pack = pack_trees([TREE, Tree((40, 41), scored=(1,))], CPU)
    assert pack.ids.tolist() == [[10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41]]
    assert pack.positions.tolist() == [[0, 1, 2, 3, 2, 3, 4, 4, 5, 6, 0, 1]]
    assert pack.select.int().tolist() == [[0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1]]
    assert pack.pieces == (Piece(4), Piece(3, 0, 2), Piece(3, 0, 4), Piece(2))
    assert len(pack) == 12 == len(TREE) + 2


def test_pack_rows_drops_padding_only() -> None:
    """Left or right, whatever the rows' lengths."""
    ids = torch.tensor([[1, 2, 3, 0], [0, 0, 4, 5]])
    pack = pack_rows(ids, ids > 0, torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1]]), (ids == 3) | (ids == 5))
    assert pack.ids.tolist() == [[1, 2, 3, 4, 5]] and pack.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert pack.select.int().tolist() == [[0, 0, 1, 0, 1]] and pack.pieces == (Piece(3), Piece(2))


@pytest.mark.parametrize("column", [0, 3])
def test_pack_refuses_to_score_what_nothing_stands_before(column: int) -> None:
    """The first token of the pack and that of a later row, which would be predicted from another row."""
    select = torch.zeros(1, 5, dtype=torch.bool)
    select[0, column] = True
    with pytest.raises(ValueError, match="nothing before it"):
        Pack(
            torch.ones(1, 5, dtype=torch.long),
            torch.zeros(1, 5, dtype=torch.long),
            select,
            (Piece(3), Piece(2)),
        )


def test_pack_refuses_pieces_of_another_length() -> None:
    """They have to cover it."""
    empty = torch.zeros(1, 5, dtype=torch.long)
    with pytest.raises(ValueError, match="pieces of 4 tokens in a pack of 5"):
        Pack(empty, empty, empty.bool(), (Piece(4),))


def test_consecutive_parts_keep_the_order_and_the_budget() -> None:
    """A row larger than the budget goes alone."""
    assert list(consecutive_parts([3, 4, 9, 1, 1, 1], 8)) == [[0, 1], [2], [3, 4, 5]]
    assert list(consecutive_parts([], 8)) == []


def test_parts_hold_every_branch_once_with_as_much_trunk_as_it_needs() -> None:
    """Cut to 7 tokens: the trunk's own scores and the first branch, then the second branch."""
    first, second = split_tree(TREE, 7)
    assert first == Tree(TREE.trunk, TREE.branches[:1], TREE.scored)
    assert second == Tree(TREE.trunk, TREE.branches[1:])
    assert split_tree(Tree(TREE.trunk, TREE.branches[:1] * 2), 5) == [Tree((10, 11), TREE.branches[:1])] * 2
    assert split_tree(TREE, 10) == [TREE]
    assert split_tree(Tree(TREE.trunk, scored=(1,)), 1) == [
        Tree(TREE.trunk, scored=(1,))
    ]  # nothing to cut at
