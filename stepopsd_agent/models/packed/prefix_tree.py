"""Contexts that share a beginning, as trees: a trunk, and branches that continue it somewhere.

A step scored behind a hindsight block is a branch of its row: the block, then the step's sampled tokens,
hung where the step began.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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

    def __len__(self) -> int:
        """Tokens that the branch adds."""
        return len(self.block) + len(self.target)


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
        return len(self.trunk) + sum(map(len, self.branches))


@dataclass(frozen=True)
class TreeTensors:
    """Trees side by side: ids, positions, selection [N, T]; mask [N, T, T], None when no tree branches."""

    ids: Tensor
    positions: Tensor
    select: Tensor
    mask: Tensor | None


def parts(tree: Tree, budget: int) -> list[Tree]:
    """The tree as several of at most ``budget`` tokens, the trunk repeated up to where each one needs it.

    A part holds one branch at least, so it may be larger; the trunk's own scores are in the first.
    """
    if len(tree) <= budget or not tree.branches:
        return [tree]
    out: list[Tree] = []
    scored, held = tree.scored, list[Branch]()

    def close() -> None:
        nonlocal scored, held
        needed = max([b.at for b in held] + [column + 1 for column in scored])
        out.append(Tree(tree.trunk[:needed], tuple(held), scored))
        scored, held = (), []

    for branch in tree.branches:
        reach = max([b.at for b in [*held, branch]] + [column + 1 for column in scored])
        if held and reach + sum(map(len, held)) + len(branch) > budget:
            close()
        held.append(branch)
    close()
    return out


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
            end = size + len(branch)
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
