"""Importance weights between an engine and the learner: by hand, and their limits."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent.ops import importance_ratios, masked, mismatch_figures, truncated

LEARNER = torch.tensor([[0.5, 0.5, 0.1, 0.8]]).log()
ENGINE = torch.tensor([[0.5, 0.25, 0.5, 0.2]]).log()
"""Ratios 1, 2, 0.2 and 4."""


def test_importance_ratios_are_the_learners_probability_over_the_engines() -> None:
    """p_learner / p_engine, and not the other way round."""
    ratios = importance_ratios(LEARNER, ENGINE, None)
    torch.testing.assert_close(ratios, torch.tensor([[1.0, 2.0, 0.2, 4.0]]))


def test_importance_ratios_of_steps_are_products() -> None:
    """The first two tokens are step 0, 1 x 2; the last two step 1, 0.2 x 4."""
    ratios = importance_ratios(LEARNER, ENGINE, torch.tensor([[0, 0, 1, 1]]))
    torch.testing.assert_close(ratios, torch.tensor([[2.0, 2.0, 0.8, 0.8]]))
    outside = importance_ratios(LEARNER, ENGINE, torch.tensor([[-1, 0, 0, -1]]))
    torch.testing.assert_close(outside, torch.tensor([[1.0, 0.4, 0.4, 1.0]]))
    nowhere = importance_ratios(LEARNER, ENGINE, torch.full((1, 4), -1))
    torch.testing.assert_close(nowhere, torch.ones(1, 4))


def test_truncated_bounds_from_above_and_masked_leaves_out() -> None:
    """The published constants: 2, and 0.5 to 5."""
    ratios = importance_ratios(LEARNER, ENGINE, None)
    torch.testing.assert_close(truncated(ratios, 2.0), torch.tensor([[1.0, 2.0, 0.2, 2.0]]))
    torch.testing.assert_close(masked(ratios, 0.5, 5.0), torch.tensor([[1.0, 2.0, 0.0, 4.0]]))
    torch.testing.assert_close(masked(ratios, 0.5, 3.0), torch.tensor([[1.0, 2.0, 0.0, 0.0]]))


def test_mismatch_figures_by_hand() -> None:
    """Two tokens of ratios 2 and 0.2: the others are masked."""
    mask = torch.tensor([[False, True, True, False]])
    figures = mismatch_figures(LEARNER, ENGINE, mask)
    kl = ((2 - 1 - math.log(2)) + (0.2 - 1 - math.log(0.2))) / 2
    assert figures["kl"] == pytest.approx(kl, rel=1e-5)
    assert figures["chi2"] == pytest.approx((4 + 0.04) / 2 - 1, rel=1e-5)
    assert figures["ess"] == pytest.approx(2.2**2 / (2 * 4.04), rel=1e-5)
    assert figures["largest"] == pytest.approx(math.log(5), rel=1e-5)


@given(st.lists(st.floats(-8, 0), min_size=1, max_size=12))
def test_equal_probabilities_change_nothing(values: list[float]) -> None:
    """Ratios and weights are exactly 1, and the distance exactly 0."""
    same = torch.tensor([values])
    ratios = importance_ratios(same, same, torch.zeros(same.shape, dtype=torch.int64))
    assert torch.equal(truncated(ratios, 1.0), torch.ones_like(same))
    assert torch.equal(masked(ratios, 1.0, 1.0), torch.ones_like(same))
    figures = mismatch_figures(same, same, torch.ones_like(same, dtype=torch.bool))
    assert figures == {"kl": 0.0, "chi2": 0.0, "ess": pytest.approx(1.0), "largest": 0.0}


def test_importance_weights_have_no_gradient_and_stay_finite() -> None:
    """They are constants of the loss, and an impossible token does not make it infinite."""
    learner = torch.zeros(1, 2, requires_grad=True)
    ratios = importance_ratios(learner, torch.tensor([[-500.0, 0.0]]), None)
    assert not ratios.requires_grad and bool(ratios.isfinite().all())


def test_bounds_that_would_leave_out_equal_tokens_are_refused() -> None:
    """A cap below 1, an interval without 1, or no token at all."""
    with pytest.raises(ValueError, match=r"cap is 0\.5"):
        truncated(torch.ones(1), 0.5)
    with pytest.raises(ValueError, match=r"low is 2, high 5"):
        masked(torch.ones(1), 2, 5)
    with pytest.raises(ValueError, match="selects no token"):
        mismatch_figures(LEARNER, ENGINE, torch.zeros(1, 4, dtype=torch.bool))
