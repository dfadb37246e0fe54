"""Fields of credit methods with values that no method can use."""

import re
from typing import Any

import pytest

from stepopsd_agent import credit


@pytest.mark.parametrize(
    ("method", "field", "value", "message"),
    [
        ("gigpo", "step_weight", float("inf"), "step_weight is inf; give a finite number"),
        ("path_gain", "eps", float("inf"), "eps is inf; give a finite number"),
        ("hgpo", "history", float("inf"), "history is inf; give a finite number"),
        ("step_opsd", "lambda_mix", "much", "lambda_mix is 'much'; give a number"),
        ("graph_gpo", "omega", None, "omega is None; give a number"),
    ],
)
def test_a_field_takes_finite_numbers_alone(method: str, field: str, value: Any, message: str) -> None:
    """With the name of the field; infinity would make every advantage infinite or undefined."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        credit.make(method, **{field: value})
