"""What a credit method gives and what it is."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from torch import Tensor

from stepopsd_agent.batch import Batch, TopK


@dataclass(frozen=True, eq=False, slots=True)
class LossTerm:
    """A further loss beside the clipped surrogate: `(weights * function(logprobs, *inputs)).sum()`.

    Weights and inputs are [N, T], so a learner may cut all of them into the same micro-batches of rows.
    """

    name: str
    """Under which its value is logged."""
    function: Callable[..., Tensor]
    """A pure function of `losses.py`: the new log-probabilities, then the inputs, to [N, T]."""
    weights: Tensor
    """The term's coefficient and its own normaliser, zero outside the action mask."""
    inputs: tuple[Tensor, ...] = ()
    """Constants, [N, T] each."""


@dataclass(frozen=True, eq=False, slots=True)
class DistributionTerm:
    """A further loss that compares whole distributions, where `LossTerm` knows the sampled tokens only.

    For the M action tokens of some rows, in the order of the rows, `function` is given the new
    log-probabilities of the sampled tokens [M], the student's of the whole vocabulary [M, V], the ids and the
    teacher's log-probabilities of its likeliest tokens [M, K], then the inputs [M]; it returns [M].
    """

    name: str
    """Under which its value is logged."""
    function: Callable[..., Tensor]
    """A pure function of `losses.py`."""
    weights: Tensor
    """[N, T], as in `LossTerm`."""
    inputs: tuple[Tensor, ...] = ()
    """Constants, [N, T] each."""


@dataclass(frozen=True, eq=False, slots=True)
class Credit:
    """What a method found: advantages [N, T], zero outside the action mask, without gradient."""

    advantages: Tensor
    terms: tuple[LossTerm | DistributionTerm, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    may_zero_steps: bool = False
    """True if a step without credit in an episode that has some is no mistake; `audit_credit` reads it."""
    value_targets: Tensor | None = None
    """[S] what a critic is to predict for every step; None where there is no critic to train."""


class MissingColumnError(ValueError):
    """A credit method needs a column that the batch does not have; the message says what can be done."""


Claim = Literal["equal_returns_zero", "base", "signs_kept", "alone_zero"]
"""What a method can promise, beside what all have to; the conformance suite holds it to that.

- "alone_zero": a group of one gets zero advantage.
- "equal_returns_zero": so does a group whose returns are equal and whose single steps are paid nothing.
- "base": at strength 0 (`lambda_mix` or `coef`), and so at a schedule's end, advantages are those of `grpo`
  with the same `baseline` and `std`, no further loss is there and no optional column is read; nor does a
  teacher that agrees with the student everywhere change an advantage.
- "signs_kept": no advantage of `grpo` changes its sign, and none by more than `lambda_mix` x `alpha_clip`.
"""


class CreditMethod(Protocol):
    """A frozen dataclass, every field with a default, that turns a batch into credit.

    Pure: no model, no files, no random numbers, no logging; the batch is not changed.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    paper: ClassVar[str]
    """Where it was published."""
    scheduled: ClassVar[frozenset[str]]
    """Fields that a schedule multiplies; at zero the method is its base method exactly."""
    claims: ClassVar[frozenset[Claim]]
    """What the conformance suite holds it to."""

    @property
    def needs(self) -> frozenset[str]:
        """Optional columns of the batch that it reads. None is read while every scheduled field is zero."""
        ...

    def __init__(self, **fields: Any) -> None: ...

    def __call__(self, batch: Batch) -> Credit:
        """The credit of every token."""
        ...


Method = TypeVar("Method", bound=CreditMethod)
Column = TypeVar("Column", Tensor, TopK)


def scaled(method: Method, factor: float) -> Method:
    """The method with every scheduled field multiplied by a factor, such as a schedule's value."""
    values = {name: getattr(method, name) * factor for name in sorted(method.scheduled)}
    return replace(method, **values)


def computed(column: Column | None, name: str) -> Column:
    """The column, known to be there.

    Raises:
        MissingColumnError: it is None.
    """
    if column is None:
        raise MissingColumnError(
            f"the credit method needs {name}, which is None: compute it and put it in the batch"
        )
    return column


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; it must lie in [{low}, {high}]")
