"""Models with sliding windows that cut no row, and with limits of attention of other names."""

from typing import Any

import pytest
import torch

from stepopsd_agent.models import Scorer
from stepopsd_agent.models.packed import Branch, Tree
from tests.agent.models.test_self_check import problems, random_policy


@pytest.mark.parametrize(
    "kind", ["MistralConfig", "Olmo3Config", "Exaone4Config", "Gemma3TextConfig", "AfmoeConfig"]
)
def test_models_whose_window_never_cuts_a_row_are_scored_in_packs(kind: str) -> None:
    """They pass the check, and a row as long as the window, with a branch, has the model's own numbers."""
    pattern: dict[str, Any] = {"sliding_window_pattern": 2} if kind == "Exaone4Config" else {}
    policy = random_policy(kind, sliding_window=24, max_position_embeddings=24, **pattern)
    assert problems(policy) == []
    row, branch = tuple(range(5, 29)), Branch(10, (40, 41), tuple(range(50, 62)))
    tree = Tree(row, (branch,), tuple(range(1, 24)))
    packed, padded = (
        Scorer(policy, tokens_per_pass=96, attention=how).logprobs([tree])[0]
        for how in ("segments", "padded")
    )
    torch.testing.assert_close(packed[0], padded[0], atol=2e-4, rtol=0)
    torch.testing.assert_close(packed[1][0], padded[1][0], atol=2e-4, rtol=0)
    longer = Tree((*row, 29), (), tuple(range(1, 25)))
    with pytest.raises(ValueError, match="uses sliding_window, which packed rows do not support"):
        Scorer(policy, tokens_per_pass=96, attention="segments").logprobs([longer])


def test_self_check_finds_a_limit_of_attention_with_a_name_of_its_own() -> None:
    """Doge drops tokens in rows longer than keep_window_size, which the short rows of the check never are."""
    (problem,) = problems(random_policy("DogeConfig", keep_window_size=24, max_position_embeddings=64))
    assert problem.startswith("keep_window_size is 24: in rows longer than that, of up to 64 tokens")
    assert problems(random_policy("DogeConfig", keep_window_size=64, max_position_embeddings=64)) == []
