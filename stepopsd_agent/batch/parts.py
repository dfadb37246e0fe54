"""Parts of a batch that are no column of a table."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class TopK:
    """The likeliest tokens at some places and their log-probabilities (nats), both [M, K].

    In a batch the M places are its action tokens, row by row.
    """

    ids: Tensor
    logprobs: Tensor

    def __post_init__(self) -> None:
        """Refuse shapes that cannot belong together."""
        shapes = tuple(self.ids.shape), tuple(self.logprobs.shape)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1] or self.ids.dtype != torch.int64:
            raise ValueError(f"ids must be int64 and like the log-probabilities [M, K], got {shapes}")


@dataclass(frozen=True, eq=False, slots=True)
class Ways:
    """Ways between worlds of a group that nobody walked, but that follow from what was walked; all [M] int64.

    Worlds are named by their `text_key`.
    """

    group: Tensor
    before: Tensor
    after: Tensor
    steps: Tensor
    """How many steps the way takes: 1, or 0 where the world before is at least as good as that after."""

    def __post_init__(self) -> None:
        """Refuse shapes and types that cannot belong together."""
        found = [getattr(self, spec.name) for spec in fields(self)]
        if any(one.shape != self.group.shape or one.dtype != torch.int64 or one.dim() != 1 for one in found):
            shapes = [tuple(one.shape) for one in found]
            raise ValueError(f"the parts of Ways must be int64 and of one shape [M], got {shapes}")

    def to(self, device: torch.device | str | None) -> Ways:
        """The same on another device."""
        return Ways(*(getattr(self, spec.name).to(device) for spec in fields(self)))
