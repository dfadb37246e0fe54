"""The interface of credit methods: their input, their result, and what they declare about themselves.

A credit method turns a `Batch` into a `Credit`: an advantage for every token that the policy sampled and, for
some methods, a further loss. It is pure: no model, no files, no random numbers. The learner does not know
which method ran.

Words and symbols of the equations:

    step            one environment interaction; its tokens are the thoughts and the action that were sampled
    episode         one attempt at a task
    group           the attempts at one task in one update
    r_t             reward of step t
    R_i             return of episode i, the sum of its rewards
    A               advantage; A_i and A_t go to every sampled token of episode i, or of step t
    mean, std       over a group, unless said otherwise; std is the sample deviation, with n - 1
    eps             1e-6, unless the settings say otherwise
    p, p_old        probability of a sampled token under the policy being updated; as it was sampled
    p_student       the same under the policy before the update
    p_teacher       the same under the teacher
    clip(x, a, b)   x, but at least a and at most b
    token_mean      mean over the sampled tokens of the batch
    L               the loss; L_GRPO is the clipped surrogate with the advantages of GRPO

A method is a frozen dataclass. Its fields are its settings, with the paper's values as defaults. Its class
variables declare the rest:

- `paper`: where it was published.
- `needs`: optional columns of the batch that it reads. They are computed before the method runs.
- `scheduled`: fields that are multiplied by a factor that falls from 1 to 0 over `schedule.decay_updates`
  (50) updates, or stays at 1 with `schedule.kind=constant`. At 0 the method is its base method exactly, and
  reads no optional column.
- `claims`: properties beyond those that all methods must have; `tests/agent/credit/test_conformance.py`
  checks both.

The claims:

- `alone_zero`: a group of one gets zero advantage.
- `equal_returns_zero`: so does a group whose returns are equal and whose single steps have no reward.
- `base`: at strength 0 (`lambda_mix` or `coef`), and so at a schedule's end, advantages are those of `grpo`
  with the same `baseline` and `std`, there is no further loss and no optional column is read; nor does a
  teacher that agrees with the student everywhere change an advantage.
- `signs_kept`: no advantage of `grpo` changes its sign, and none changes by more than `lambda_mix` times
  `alpha_clip` of itself.
- `teacher_scales`: the teacher's log-probabilities only multiply advantages of `grpo` within an episode, and
  there is no further loss. In a group whose returns are equal and whose steps have no penalty, neither credit
  nor metrics depend on the teacher, so it does not score that group.

The optional columns, and where they come from:

- `student_logprobs`: log-probabilities of the sampled tokens under the policy before the update.
- `teacher_logprobs`, `teacher_topk`: log-probabilities of the sampled tokens under the hindsight teacher, and
  those of its likeliest tokens at the same positions (`hindsight.top_k` of them).
- `informed`: whether the teacher has read something that the student has not.
- `value`: a critic's prediction before every step; `mc_value`: the mean return of fresh attempts from there.
  `fill` needs a critic for the one and environments for the other; `credit score` has neither.
- `gold_answer_logprob`: the policy's log-probability of the gold answer before every step; Search-QA only.
- `next_anchor`, `next_state`: keys after a step; `text_key`, `next_text_key`: keys of the world as the texts
  give it, before and after a step; `inferred_transitions`: those in it that no attempt took.
- `lifted_distance`, `next_lifted_distance`: the distance to a goal, before and after a step, in the terms of
  the task's form, from attempts at all tasks of that form.
- `past`: where the steps of earlier updates at the same task led; `fill` needs a `TaskHistory`.
- `optimal_distance`, `last_distance`: in the records of ALFWorld with `env.oracle=true`; `gold_seen`,
  `first_gold_seen`: in those of Search-QA.
- any other that a function with `@batch.register_column(table, dtype)` computes; it lies in `batch.own`.

One departure from the papers is common to all methods: an episode that is alone in its group gets no
advantage from the comparison with its group. The code that agentic papers build on uses mean 0 and deviation
1 there, so that such an episode would get its raw return.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from torch import Tensor

from stepopsd_agent.batch import Batch, Past, TopK, Transitions


@dataclass(frozen=True, eq=False, slots=True)
class LossTerm:
    """A further loss beside the clipped surrogate: `(weights * function(logprobs, *inputs)).sum()`.

    Weights and inputs are [N, T], so a learner may cut all of them into the same micro-batches of rows.
    """

    name: str
    """The metric under which its value is logged."""
    function: Callable[..., Tensor]
    """A pure function of `losses.py`: the new log-probabilities, then the inputs, to [N, T]."""
    weights: Tensor
    """The term's coefficient and its own normaliser, zero outside the action mask."""
    inputs: tuple[Tensor, ...] = ()
    """Constants, [N, T] each."""


@dataclass(frozen=True, eq=False, slots=True)
class DistributionTerm:
    """A further loss that compares whole distributions, where `LossTerm` sees the sampled tokens only.

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
    """The result of a method: advantages [N, T], zero outside the action mask, without gradient."""

    advantages: Tensor
    terms: tuple[LossTerm | DistributionTerm, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    may_zero_steps: bool = False
    """True if steps may have no credit in an episode that has some; else `audit_credit` refuses them."""
    value_targets: Tensor | None = None
    """[S] regression targets of the critic; None if the method has no critic."""


class MissingColumnError(ValueError):
    """A credit method needs a column that the batch does not have; the message says what can be done."""


Claim = Literal["equal_returns_zero", "base", "signs_kept", "alone_zero", "teacher_scales"]
"""A property that a method declares beyond those of all methods; the module's text explains each one."""


class CreditMethod(Protocol):
    """A frozen dataclass, every field with a default, that turns a batch into credit.

    Pure: no model, no files, no random numbers, no logging; the batch is not changed.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    paper: ClassVar[str]
    """Its publication."""
    scheduled: ClassVar[frozenset[str]]
    """Fields that a schedule multiplies; at zero the method is its base method exactly."""
    claims: ClassVar[frozenset[Claim]]
    """The properties that the conformance suite checks."""

    @property
    def needs(self) -> frozenset[str]:
        """Optional columns of the batch that it reads. None is read while every scheduled field is zero."""
        ...

    def __init__(self, **fields: Any) -> None: ...

    def __call__(self, batch: Batch) -> Credit:
        """The credit of every token."""
        ...


Method = TypeVar("Method", bound=CreditMethod)
Column = TypeVar("Column", Tensor, TopK, Transitions, Past)


def scaled(method: Method, factor: float) -> Method:
    """The method with every scheduled field multiplied by a factor in [0, 1], such as a schedule's value."""
    if isinstance(method, str):
        raise TypeError(f"method is the text {method!r}; give credit.make({method!r})")
    check_range("factor", factor, 0, 1)
    return replace(method, **{name: getattr(method, name) * factor for name in sorted(method.scheduled)})


def linear_decay(update: int, decay_updates: int) -> float:
    """A factor for `scaled`: 1 at update 0, on a line to 0 at `decay_updates`, 0 after it.

    Raises:
        ValueError: `decay_updates` is below 1, or `update` below 0.
    """
    if decay_updates < 1:
        raise ValueError(f"decay_updates is {decay_updates}; it must be at least 1")
    if update < 0:
        raise ValueError(f"update is {update}; updates count from 0")
    return max(0.0, 1.0 - update / decay_updates)


def computed(column: Column | None, name: str) -> Column:
    """The column, which must have been computed.

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
