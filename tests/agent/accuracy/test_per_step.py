"""Credit of steps from what a method returns."""

import pytest

from stepopsd_agent import credit
from stepopsd_agent.accuracy import step_credit
from tests.helpers.builders import random_batch


@pytest.mark.parametrize("name", ["opsd", "sdpo"])
def test_step_credit_of_a_loss_over_distributions_is_refused(name: str) -> None:
    """It would be zero at every step, and the method be judged as one that knows nothing."""
    batch = random_batch(0)
    with pytest.raises(ValueError, match=r"compares whole distributions, .* such as objective=sampled"):
        step_credit(batch, credit.make(name)(batch))
    assert step_credit(batch, credit.make(name, objective="sampled")(batch)).any()
