"""Declarations of columns: in the fields of a table, or in any other file by `register_column`."""

from collections.abc import Callable
from dataclasses import Field, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Compute = TypeVar("Compute", bound=Callable[..., Tensor])

OWN: dict[str, Field[Any]] = {}
"""What `register_column` declared, by the name of the column."""


def collated(dtype: torch.dtype) -> Any:
    """A column that links the tables or belongs to the tokens; `collate` makes it."""
    return field(metadata={"dtype": dtype})


def read(dtype: torch.dtype, how: Callable[..., Any], *, optional: bool = False) -> Any:
    """A column read off the records: a step's from the one before and its own, an episode's from its own."""
    default: Any = {"default": None} if optional else {}
    return field(metadata={"dtype": dtype, "read": how}, **default)


def reported(dtype: torch.dtype, remedy: str, how: Callable[..., Any]) -> Any:
    """A column of the infos that some environments report, others as None or -1, with a remedy for these."""
    return field(default=None, metadata={"dtype": dtype, "read": how, "remedy": remedy})


def filled(dtype: torch.dtype | None) -> Any:
    """A column that `learner.columns.fill` computes, by its function ``fill_`` and the column's name."""
    return field(default=None, metadata={"dtype": dtype, "filled": True})


def register_column(table: str, dtype: torch.dtype) -> Callable[[Compute], Compute]:
    """Declare a column in any file: the decorated function computes it, and gives it its name.

    A credit method that has the name in `needs` reads ``batch.own[name]``; `fill` has computed it, from the
    batch and the inputs of `fill` as `learner.Sources`:

        @register_column("tokens", torch.float32)
        def surprise(batch: Batch, sources: Sources) -> Tensor:
            return -sources.logprobs(batch)

    Args:
        table: "tokens" for [N, T], "steps" for [S], "episodes" for [E].
        dtype: of the column; any floating type stands for all of them.

    Raises:
        ValueError: there is no such table, or another column has the name.
    """
    from stepopsd_agent.batch.batch import column_fields  # late: the tables are declared by this file

    if table not in ("tokens", "steps", "episodes"):
        raise ValueError(f"table is {table!r}; a column belongs to tokens, steps or episodes")

    def register(compute: Compute) -> Compute:
        name = compute.__name__
        known = OWN[name].metadata["file"] if name in OWN else ""
        file = compute.__code__.co_filename  # one that is run and imported registers the same twice
        if name in column_fields() and known != file:
            raise ValueError(f"a batch has a column {name!r} already: give the function another name")
        OWN[name] = field(metadata={"dtype": dtype, "filled": compute, "table": table, "file": file})
        return compute

    return register
