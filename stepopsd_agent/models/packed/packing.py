"""Rows and trees one after another in a single sequence: no padding, whatever their lengths.

A pack is cut into pieces. The tokens of a piece see the earlier ones of the same piece and, where it
continues another one elsewhere than that went on itself, the beginning of that one. So a row is a piece,
and a tree (see `trees`) is a piece for its trunk with one piece per branch behind it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepopsd_agent.models.packed.prefix_tree import Tree


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of a pack.

    Attributes:
        length: how many.
        parent: number of the earlier piece that it continues; None where it begins a context of its own.
        sight: tokens of the parent that it sees.
    """

    length: int
    parent: int | None = None
    sight: int = 0


@dataclass(frozen=True)
class Pack:
    """One sequence for one forward pass: ids, positions and selection [1, T], and how it is cut.

    Attributes:
        ids: the tokens.
        positions: of each token in its own context.
        select: True at the tokens to score; never a piece's first, whose predecessor stands elsewhere.
        pieces: in order; their lengths sum to T.
    """

    ids: Tensor
    positions: Tensor
    select: Tensor
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        """Refuse selected tokens whose predecessor is not the token before them."""
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
    """Rows [N, T] without their padding, in order.

    Args:
        ids: tokens.
        real: True where there is a token.
        positions: of each token in its row.
        select: True at the tokens to score.
    """
    lengths = real.sum(1).tolist()
    return Pack(ids[real][None], positions[real][None], select[real][None], tuple(map(Piece, lengths)))


def pack_trees(trees: Sequence[Tree], device: torch.device) -> Pack:
    """Trees in order, each its trunk and then its branches."""
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


def bins(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in order, cut so that each part's sizes sum to at most ``budget`` (one at least)."""
    part: list[int] = []
    total = 0
    for i, size in enumerate(sizes):
        if part and total + size > budget:
            yield part
            part, total = [], 0
        part.append(i)
        total += size
    if part:
        yield part
