"""Rows and prefix trees, and their layouts for one forward pass: packed into one sequence, or padded.

A prefix tree is a row of tokens (the trunk) with branches that share its beginning: a step scored behind a
hindsight block is a branch of its row, the block and then the step's sampled tokens, attached where the step
began. The packed layout puts rows and branches one after another without padding, each as a `Piece`; the
padded layout puts each tree in its own row, with a mask that keeps the branches apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 96
"""Branches of one trunk share an attention call up to this many tokens: fewer calls, larger masks."""


@dataclass(frozen=True)
class Branch:
    """Tokens that follow a beginning of the trunk, in place of those the trunk has there.

    Attributes:
        at: number of trunk tokens that the branch sees.
        block: ids that are given, not scored.
        target: ids that are scored.
    """

    at: int
    block: tuple[int, ...]
    target: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens that the branch adds to a forward pass."""
        return len(self.block) + len(self.target)


@dataclass(frozen=True)
class Tree:
    """One trunk with its branches.

    Attributes:
        trunk: ids of the row.
        branches: in any order.
        scored: columns of the trunk that are scored in their own context.
    """

    trunk: tuple[int, ...]
    branches: tuple[Branch, ...] = ()
    scored: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Tokens a forward pass over the tree processes."""
        return len(self.trunk) + sum(map(len, self.branches))


def split_tree(tree: Tree, budget: int) -> list[Tree]:
    """Cut a tree into trees of at most ``budget`` tokens, each with the trunk as far as it needs it.

    Every part holds at least one branch, so it may be larger; the first also scores the trunk's columns.
    """
    if len(tree) <= budget or not tree.branches:
        return [tree]
    out: list[Tree] = []
    scored, waiting = tree.scored, list[Branch]()

    def close() -> None:
        nonlocal scored, waiting
        needed = max([b.at for b in waiting] + [column + 1 for column in scored])
        out.append(Tree(tree.trunk[:needed], tuple(waiting), scored))
        scored, waiting = (), []

    for branch in tree.branches:
        reach = max([b.at for b in [*waiting, branch]] + [column + 1 for column in scored])
        if waiting and reach + sum(map(len, waiting)) + len(branch) > budget:
            close()
        waiting.append(branch)
    close()
    return out


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of a pack that see each other causally: a row, a trunk or a branch.

    Attributes:
        length: number of tokens.
        parent: number of the earlier piece whose beginning is this one's prefix; None for a row or trunk.
        sight: number of the parent's tokens that it sees.
    """

    length: int
    parent: int | None = None
    sight: int = 0


def longest_sight(pieces: Sequence[Piece]) -> int:
    """Tokens that the last token of some piece sees, the most of all pieces."""
    return max(piece.sight + piece.length for piece in pieces)


@dataclass(frozen=True)
class Pack:
    """One sequence for one forward pass: ids, positions and selection [1, T], and its pieces.

    Attributes:
        ids: tokens.
        positions: of each token in its own context.
        select: True at the tokens to score; never at the first of a piece, whose predecessor stands
            elsewhere.
        pieces: in order; their lengths sum to T.

    Raises:
        ValueError: the pieces do not cover the ids, or the first token of a piece is selected.
    """

    ids: Tensor
    positions: Tensor
    select: Tensor
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        firsts = torch.tensor([0, *(p.length for p in self.pieces)]).cumsum(0)
        if int(firsts[-1]) != self.ids.shape[1]:
            raise ValueError(f"pieces of {int(firsts[-1])} tokens in a pack of {self.ids.shape[1]}")
        if bool(self.select[0, firsts[:-1].to(self.select.device)].any()):
            raise ValueError(
                "the first token of a row has nothing before it and cannot be scored, nor that of a branch; "
                "select later tokens"
            )

    def __len__(self) -> int:
        """Tokens a forward pass over the pack processes."""
        return self.ids.shape[1]


def pack_rows(ids: Tensor, real: Tensor, positions: Tensor, select: Tensor) -> Pack:
    """Pack rows [N, T] in order, without their padding.

    Args:
        ids: tokens.
        real: True where there is a token.
        positions: of each token in its row.
        select: True at the tokens to score.
    """
    lengths = real.sum(1).tolist()
    return Pack(ids[real][None], positions[real][None], select[real][None], tuple(map(Piece, lengths)))


def pack_trees(trees: Sequence[Tree], device: torch.device) -> Pack:
    """Pack trees in order, each as its trunk and then its branches."""
    ids: list[int] = []
    positions: list[int] = []
    select: list[bool] = []
    pieces: list[Piece] = []
    for tree in trees:
        trunk, size = len(pieces), len(tree.trunk)
        chosen = set(tree.scored)
        ids += tree.trunk
        positions += range(size)
        select += [column in chosen for column in range(size)]
        pieces.append(Piece(size))
        for branch in tree.branches:
            given, scored = len(branch.block), len(branch.target)
            ids += branch.block + branch.target
            positions += range(branch.at, branch.at + given + scored)
            select += [False] * given + [True] * scored
            pieces.append(Piece(given + scored, trunk, branch.at))
    return Pack(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        torch.tensor([select], device=device),
        tuple(pieces),
    )


@dataclass(frozen=True)
class PaddedTrees:
    """Trees side by side: ids, positions, selection [N, T]; mask [N, T, T], None when no tree branches."""

    ids: Tensor
    positions: Tensor
    select: Tensor
    mask: Tensor | None


def pad_trees(trees: Sequence[Tree], pad_id: int, device: torch.device) -> PaddedTrees:
    """Lay trees out as right-padded rows, each its trunk and then its branches in order."""
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
            end = size + len(branch)
            ids[n, size:end] = torch.tensor(branch.block + branch.target)
            positions[n, size:end] = branch.at + torch.arange(end - size)
            sight[n, size:end], owner[n, size:end] = branch.at, k
            select[n, end - len(branch.target) : end] = True
            size = end
        owner[n, size:] = -1
    mask = _tree_mask(owner, sight).to(device) if any(t.branches for t in trees) else None
    return PaddedTrees(ids.to(device), positions.to(device), select.to(device), mask)


def _tree_mask(owner: Tensor, sight: Tensor) -> Tensor:
    column = torch.arange(owner.shape[1])
    trunk = (owner[:, None, :] == 0) & (column < sight[:, :, None])
    causal = column[:, None] >= column[None, :]
    visible = (owner[:, :, None] == owner[:, None, :]) & causal & (owner[:, :, None] != 0)
    return trunk | visible  # (N, T, T); a padding token sees earlier padding and itself


def grouped(pieces: Sequence[Piece]) -> list[list[int]]:
    """Numbers of the pieces that attend in one call: a row alone, or neighbouring branches of one trunk."""
    runs: list[list[int]] = []
    size = 0
    for i, piece in enumerate(pieces):
        before = pieces[i - 1] if i else None
        together = before is not None and piece.parent is not None and piece.parent == before.parent
        if together and size + piece.length <= GROUP:
            runs[-1].append(i)
            size += piece.length
        else:
            runs.append([i])
            size = piece.length
    return runs


def branch_mask(members: Sequence[Piece], like: Tensor) -> Tensor:
    """[Q, S + Q] additive mask of branches of one trunk, S trunk tokens first."""
    lengths = torch.tensor([p.length for p in members])
    owner = torch.arange(len(members)).repeat_interleave(lengths)
    sight = torch.tensor([p.sight for p in members])[owner]
    trunk = torch.arange(int(sight.max())) < sight[:, None]
    column = torch.arange(len(owner))
    visible = (owner[:, None] == owner) & (column[:, None] >= column)
    seen = torch.cat([trunk, visible], dim=1).to(like.device)
    return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that two rows of ids share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
