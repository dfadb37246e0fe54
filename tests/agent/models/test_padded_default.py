"""Models that take no attention function are scored in padded rows by default."""

from typing import Any

import pytest

from stepopsd_agent.models import Scorer
from stepopsd_agent.models.number_check import number_problems
from stepopsd_agent.models.packed import Branch, Tree
from tests.agent.models.test_self_check import random_policy


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("GPTJConfig", {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8}),
        ("StableLmConfig", {}),
        ("NemotronConfig", {}),
        ("XGLMConfig", {"d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 64}),
    ],
)
def test_a_model_without_attention_functions_is_scored_in_padded_rows(
    kind: str, settings: dict[str, Any]
) -> None:
    """Where it passes the check, "auto" can use it; what transformers says of such models is not reliable."""
    policy = random_policy(kind, **settings)
    assert number_problems(policy) == []
    assert policy.attention("auto") == "padded"
    trees = [Tree(tuple(range(5, 25)), (Branch(9, (3, 4), (5, 6)),), (4, 7)), Tree((5, 6, 7), scored=(1,))]
    by_default, padded = (Scorer(policy, attention=how).logprobs(trees) for how in ("auto", "padded"))
    assert [trunk.tolist() for trunk, _ in by_default] == [trunk.tolist() for trunk, _ in padded]
    with pytest.raises(ValueError):
        Scorer(policy, attention="segments").logprobs(trees)
