"""Declarations of columns: in the fields of a table, or in any other file by `register_column`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from stepopsd_wrappers.episode import Episode

if TYPE_CHECKING:
    from stepopsd_agent.batch.batch import Batch


class ColumnSources(Protocol):
    """The inputs of a column's function: those of `learner.fill`; `learner.Sources` has all of them."""

    @property
    def episodes(self) -> Sequence[Episode]:
        """The records, in the order of the batch."""
        ...

    @property
    def policy(self) -> Any:
        """The student, a `models.Policy`."""
        ...

    @property
    def scorer(self) -> Any:
        """Reads its log-probabilities, a `models.Scorer`."""
        ...

    def logprobs(self, batch: "Batch") -> Tensor:
        """[N, T] log-probabilities (nats) of the sampled tokens under the student, zero elsewhere."""
        ...


Compute = TypeVar("Compute", bound=Callable[..., Tensor])

OWN: dict[str, Field[Any]] = {}
"""Declarations by `register_column`, by the name of the column."""


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


def filled(dtype: torch.dtype | None, *, model: bool = True) -> Any:
    """A column that `learner.fill` computes, by its function ``fill_`` and the column's name.

    Args:
        dtype: of a tensor.
        model: it takes a model; False: the records suffice.
    """
    return field(default=None, metadata={"dtype": dtype, "filled": True, "model": model})


def register_column(table: str, dtype: torch.dtype, *, model: bool = True) -> Callable[[Compute], Compute]:
    """Declare a column in any file: the decorated function computes it, and gives it its name.

    A credit method that has the name in `needs` reads it as ``computed(batch.own.get(name), name)``; `fill`
    has computed it:

        @register_column("tokens", torch.float32)
        def surprise(batch: Batch, sources: ColumnSources) -> Tensor:
            return -sources.logprobs(batch)

    Args:
        table: "tokens" for [N, T], "steps" for [S], "episodes" for [E].
        dtype: of the column; any floating type stands for all of them.
        model: the function asks the policy or its scorer. With False it reads ``sources.episodes`` alone, and
            the column can be computed for records of any agent.

    Raises:
        ValueError: there is no such table or type, or another column has the name.
    """
    from stepopsd_agent.batch.batch import column_fields  # late: the tables are declared by this file

    if table not in ("tokens", "steps", "episodes"):
        raise ValueError(f"table is {table!r}; a column belongs to tokens, steps or episodes")
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype is {dtype!r}; give one of torch, such as torch.float32")

    def register(compute: Compute) -> Compute:
        name = compute.__name__
        # A file that is run and imported registers the same twice, and so does a notebook's cell.
        origins = {
            inspect.unwrap(compute).__code__.co_filename,
            f"{compute.__module__}.{compute.__qualname__}",
        }
        if name in column_fields() and not (name in OWN and origins & OWN[name].metadata["origins"]):
            raise ValueError(f"a batch has a column {name!r} already: give the function another name")
        facts = {"dtype": dtype, "filled": compute, "model": model, "table": table, "origins": origins}
        OWN[name] = field(metadata=facts)
        return compute

    return register
