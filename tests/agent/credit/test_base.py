"""What all credit methods share: schedules of their fields, and the checks of what they return."""

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import AuditError
from stepopsd_agent.credit import Credit, audit_credit, check_credit
from tests.helpers.builders import random_batch


def test_linear_decay_falls_to_zero_and_stays() -> None:
    """The paper's decay over 50 updates."""
    # 1 - 0/50, 1 - 1/50, 1 - 25/50, 1 - 49/50, then 0
    values = [credit.linear_decay(update, 50) for update in (0, 1, 25, 49, 50, 51, 1000)]
    assert values == pytest.approx([1.0, 0.98, 0.5, 0.02, 0.0, 0.0, 0.0])
    assert values[4] == 0.0  # exactly: a method may then skip its teacher


def test_linear_decay_refuses_what_makes_no_sense() -> None:
    """A decay over no updates, and updates before the first."""
    with pytest.raises(ValueError, match="decay_updates is 0"):
        credit.linear_decay(3, 0)
    with pytest.raises(ValueError, match="update is -1; updates count from 0"):
        credit.linear_decay(-1, 50)


def test_scaled_multiplies_the_scheduled_fields_alone() -> None:
    """Those that the method names; its other fields stay."""
    method = credit.make("step_opsd", lambda_mix=0.4, alpha_clip=0.1)
    half = credit.scaled(method, 0.5)
    assert half == credit.make("step_opsd", lambda_mix=0.2, alpha_clip=0.1)


@pytest.mark.parametrize("factor", [-1.0, 2.0, float("nan")])
@pytest.mark.parametrize("name", ["step_opsd", "grpo"])
def test_scaled_names_a_factor_that_is_no_share(name: str, factor: float) -> None:
    """Rather than the field that it would spoil, also where the method has none."""
    with pytest.raises(ValueError, match=rf"^factor is {factor}; it must lie in \[0, 1\]"):
        credit.scaled(credit.make(name), factor)


def test_what_a_method_returns_must_be_credit_of_tensors() -> None:
    """Advantages without their frame, no return at all, an array: each is named, with what to give."""
    batch = random_batch(0)
    zeros = torch.zeros_like(batch.tokens.old_logprobs)
    for wrong, said in ((zeros, "Tensor"), (None, "NoneType")):
        for check in (check_credit, audit_credit):
            with pytest.raises(TypeError, match=f"the credit method returned a {said}; return a Credit"):
                check(batch, wrong)  # type: ignore[arg-type]
    with pytest.raises(AuditError, match="advantages is of type ndarray; give a tensor"):
        audit_credit(batch, Credit(zeros.numpy()))  # type: ignore[arg-type]
