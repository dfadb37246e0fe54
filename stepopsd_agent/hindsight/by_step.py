"""Hindsight that may differ from step to step: its type, and the tree of a row where it does."""

from collections.abc import Mapping, Sequence

from stepopsd_agent.config import Position
from stepopsd_agent.models.packed import Branch, Tree

Block = Sequence[int] | Mapping[int, Sequence[int]]
"""Hindsight of one episode: ids for all its steps, or those of each step that is told some, by its index."""
Blocks = Sequence[Block]
"""Hindsight of each episode of a batch; an empty one leaves the context as it was."""
Answers = Sequence[Sequence[str]] | None
"""Gold answers of each episode's task, in all their spellings."""


def tree_by_step(
    ids: tuple[int, ...],
    places: Mapping[int, tuple[int, int]],
    blocks: Mapping[int, Sequence[int]],
    position: Position,
) -> Tree:
    """The tree of a row whose steps are branches, in order, each behind its own block.

    A step that is told nothing is a branch too, behind the token before it, which is its own context. A row
    without any block does not branch.

    Args:
        ids: of the row.
        places: [start, end) of each step in the row, by its index in the episode, in order.
        blocks: what steps are told, by the same index.
        position: asked for; there is no other than "inline".

    Raises:
        ValueError: the position is another.
    """
    if position != "inline":
        raise ValueError("hindsight that differs from step to step has no one prefix: give position inline")
    if not any(blocks.get(index) for index in places):
        columns = [column for place in places.values() for column in range(*place)]
        return Tree(ids[: columns[-1] + 1], scored=tuple(columns))
    branches = []
    for index, (start, end) in places.items():
        inserted = tuple(blocks.get(index, ()))
        at, block = (start, inserted) if inserted else (start - 1, ids[start - 1 : start])
        branches.append(Branch(at, block, ids[start:end]))
    return Tree(ids[: branches[-1].at], tuple(branches))


def block_tokens(block: Block) -> float:
    """Ids that one step is shown, on average over the steps that are shown some."""
    if isinstance(block, Mapping):
        return sum(map(len, block.values())) / max(1, len(block))
    return float(len(block))
