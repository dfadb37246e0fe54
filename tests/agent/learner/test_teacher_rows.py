"""Groups in which every attempt got the same: of which methods the teacher need not be asked there."""

from dataclasses import replace

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.learner import teacher_rows
from tests.helpers.builders import Attempt, Layout, build, random_attempts, turn

SCALING = [name for name in credit.names() if "teacher_scales" in credit.load(name).claims]
VARIANTS: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in SCALING),
    ("step_opsd", {"step_norm": "equal_step_sum", "weight": "exp"}),
    ("step_opsd", {"step_norm": "none", "span": "action", "baseline": "step"}),
    ("rlsd", {"std": False, "baseline": "step"}),
    ("agent_opsd", {"gamma": 1.0, "std": False}),
]


def batch_of(seed: int, flat: set[int], layout: Layout = "transcript", groups: int = 3) -> Batch:
    """A random batch in which the attempts of some groups get the same."""
    attempts = random_attempts(seed, groups=groups)
    attempts = [replace(one, episode_return=0.5) if one.group in flat else one for one in attempts]
    return build(attempts, layout)


def rows_of(batch: Batch, groups: set[int]) -> torch.Tensor:
    """[N] the rows of these groups."""
    group = batch.group_of_step[batch.tokens.step_of_token.amax(1)]
    return torch.isin(group, torch.tensor(sorted(groups)))


def test_methods_whose_teacher_only_scales() -> None:
    """Those that distil a teacher everywhere, or give credit in flat groups, are not among them."""
    assert sorted(SCALING) == ["agent_opsd", "rlsd", "step_opsd"]
    batch = batch_of(0, {0})
    for name in set(credit.names()) - set(SCALING):
        assert teacher_rows(credit.make(name), batch) is None


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in set(credit.names()) - set(SCALING)
        if any(need.startswith("teacher") for need in credit.make(name).needs)
    ),
)
def test_other_teacher_methods_learn_from_their_teacher_in_flat_groups(name: str) -> None:
    """So it is asked there: a further loss pulls at every row of such a group that has actions."""
    batch = batch_of(0, {1})
    rows = rows_of(batch, {1})
    terms = credit.make(name)(batch).terms
    assert sum(float(term.weights[rows].abs().sum()) for term in terms) > 0


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize(("name", "fields"), VARIANTS)
@pytest.mark.parametrize("seed", range(5))
def test_teacher_scales_means_that_in_flat_groups_nothing_depends_on_it(
    name: str, fields: dict[str, object], seed: int, layout: Layout
) -> None:
    """To the bit: credit, metrics and losses, whatever the teacher says there."""
    method: CreditMethod = credit.make(name, **fields)
    batch = batch_of(seed, {1}, layout)
    asked = teacher_rows(method, batch)
    assert asked is not None and not asked[rows_of(batch, {1})].any()
    teacher = batch.tokens.teacher_logprobs
    assert teacher is not None
    expected = method(batch)
    for other in (batch.tokens.old_logprobs, -3 * torch.rand_like(teacher), torch.full_like(teacher, -9.0)):
        changed = torch.where(asked[:, None] | ~batch.action_mask, teacher, other)
        got = method(batch.with_columns(teacher_logprobs=changed))
        assert torch.equal(got.advantages, expected.advantages)
        assert got.metrics == expected.metrics and got.terms == expected.terms == ()
    elsewhere = torch.where(asked[:, None] & batch.action_mask, teacher - 1, teacher)
    if expected.advantages.any():
        assert not torch.equal(
            method(batch.with_columns(teacher_logprobs=elsewhere)).advantages, expected.advantages
        )


def test_teacher_rows_are_those_of_groups_with_different_scores() -> None:
    """Equal returns are flat, a group of one is, and a single penalty is not; other groups do not matter."""
    two = (turn(2), turn(3))
    attempts = [
        *(Attempt(0, 0.3, two), Attempt(0, 0.3, two)),
        *(Attempt(1, 0.0, two), Attempt(1, 1.0, two)),
        Attempt(2, 1.0, two),
        *(Attempt(3, 1.0, two), Attempt(3, 1.0, two)),
    ]
    method, batch = credit.make("step_opsd"), build(attempts)
    rows = teacher_rows(method, batch)
    assert rows is not None and rows.tolist() == [False, False, True, True, False, False, False]
    charged = torch.zeros(batch.num_steps)
    charged[-1] = 0.1
    rows = teacher_rows(method, batch.with_columns(penalty=charged))
    assert rows is not None and rows.tolist() == [False, False, True, True, False, True, True]
    zero = teacher_rows(method, batch.with_columns(penalty=0 * charged))
    assert zero is not None and zero.tolist() == [False, False, True, True, False, False, False]
