"""vLLM in this process: the built-in decoder's tokens, and the policy's weights after every update.

`make vllm-venv` makes an environment that has vLLM; `make test-slow` runs this file there.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.config import LoraConfig, RolloutConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Attempt, Decoder, Sampled, SamplingParams, rollout
from stepopsd_agent.rollout.engines import (
    Colocated,
    Draw,
    EngineBackend,
    EngineError,
    colocated,
    engine_weights,
)
from stepopsd_agent.run import Trainer
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode
from tests.helpers.decoding import converse
from tests.helpers.models import tiny
from tests.helpers.runs import PARAMS, run_config, taught

pytest.importorskip("vllm", reason="vLLM is not installed: make vllm-venv, then make test-slow")
pytestmark = [pytest.mark.slow, pytest.mark.samples]
CLOSE = 1e-5
"""Nats by which the two may differ at float32."""
LONG = 600
"""Tokens of a prompt that fills several blocks of vLLM's prefix cache."""
Talk = list[list[Sampled]]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """A model with random weights; a test that changes them hands them over first."""
    return tiny()


@pytest.fixture(scope="module")
def engine(policy: Policy) -> Iterator[Colocated]:
    """One vLLM for this file, since it takes long to start."""
    of_python, of_torch, threads = random.getstate(), torch.get_rng_state(), torch.get_num_threads()
    made = Colocated(policy, slots=8, max_row_tokens=1024, memory_share=0.2)
    assert random.getstate() == of_python and torch.equal(torch.get_rng_state(), of_torch)
    assert torch.get_num_threads() == threads
    yield made
    made.close()


def both(engine: Colocated, policy: Policy, params: SamplingParams, first: int = 40) -> tuple[Talk, Talk]:
    """Three turns of five rows, by the built-in decoder and by vLLM: their responses, turn by turn."""
    rng = np.random.default_rng(3)
    rows: list[list[int]] = [[] for _ in range(5)]
    sizes = [rng.integers(first // 2, first, size=5), *rng.integers(5, 40, size=(2, 5))]
    talks = [
        [rng.integers(1, len(policy.tokenizer), size=n).tolist() for n in turns]
        for turns in zip(*sizes, strict=True)
    ]
    noises = rng.random((3, 5, params.max_tokens))
    talked = converse(Decoder(policy, 5, params), talks, lambda row, turn: noises[turn, row])
    expected, found = [list(turn) for turn in zip(*talked, strict=True)], list[list[Sampled]]()
    for turn, noise in enumerate(noises):
        prompts = [talk[turn] for talk in talks]
        for number, (row, new) in enumerate(zip(rows, prompts, strict=True)):
            row += new
            engine.ask(number, row, Draw(noise[number], params, sorted(policy.stop_ids)))
        ended = dict[int, Sampled]()
        while len(ended) < 5:
            ended |= engine.finished()
        found.append([ended[number] for number in range(5)])
        for row, sampled in zip(rows, expected[turn], strict=True):
            row += sampled.ids
    return expected, found


def distance(expected: Talk, found: Talk) -> float:
    """Largest difference of log-probabilities; 1 where tokens differ, infinite where all do."""
    apart, same = 0.0, 0
    turns = zip(expected, found, strict=True)
    for one, other in (pair for turn in turns for pair in zip(*turn, strict=True)):
        for a, b, p, q in zip(one.ids, other.ids, one.logprobs, other.logprobs, strict=False):
            if a != b:
                apart = max(apart, 1.0)
                break
            apart, same = max(apart, abs(p - q)), same + 1
    return apart if same else float("inf")


def ids(talk: Talk) -> list[tuple[int, ...]]:
    """What was drawn."""
    return [sampled.ids for turn in talk for sampled in turn]


def stir(policy: Policy, size: float = 0.02) -> None:
    """Move the weights as an update does."""
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=12),
        SamplingParams(temperature=0.6, max_tokens=12),
        SamplingParams(temperature=0.0, max_tokens=12),
        SamplingParams(temperature=1.4, top_k=20, max_tokens=12),
        SamplingParams(top_p=0.8, max_tokens=12),
    ],
)
def test_vllm_draws_the_tokens_of_the_built_in_decoder(
    engine: Colocated, policy: Policy, params: SamplingParams
) -> None:
    """Turn after turn in the same rows, with their log-probabilities in the distribution drawn from."""
    engine.load(policy)
    expected, found = both(engine, policy, params)
    assert ids(found) == ids(expected)
    assert distance(expected, found) < CLOSE


def test_vllm_has_the_weights_after_an_update(engine: Colocated, policy: Policy) -> None:
    """Tied head, and prompts of which it has read the same ids with the old weights."""
    params = SamplingParams(max_tokens=6)
    engine.load(policy)
    both(engine, policy, params, LONG)
    for _ in range(2):
        stir(policy)
        stale = distance(*both(engine, policy, params, LONG))
        assert stale > 100 * CLOSE  # the update is large enough to be missed
        engine.load(policy)
        expected, found = both(engine, policy, params, LONG)
        assert ids(found) == ids(expected) and distance(expected, found) < CLOSE


def test_vllm_without_the_tied_head_would_be_stale(
    engine: Colocated, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the weights are sent for: the parameters alone leave the old output layer, without a word."""
    engine.load(policy)
    stir(policy)

    def parameters(policy: Policy) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in policy.model.named_parameters()}

    monkeypatch.setattr(colocated, "engine_weights", parameters)
    engine.load(policy)
    params = SamplingParams(max_tokens=6)
    assert distance(*both(engine, policy, params)) > 100 * CLOSE
    monkeypatch.setattr(colocated, "engine_weights", engine_weights)
    engine.load(policy)
    assert distance(*both(engine, policy, params)) < CLOSE


def test_vllm_without_forgetting_prefixes_would_be_stale(
    engine: Colocated, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cache is emptied for: long prompts that were read with the old weights."""
    params = SamplingParams(max_tokens=6)
    engine.load(policy)
    both(engine, policy, params, LONG)
    stir(policy)
    with monkeypatch.context() as patched:
        patched.setattr(type(engine._llm), "reset_prefix_cache", lambda self: True)
        engine.load(policy)
    assert distance(*both(engine, policy, params, LONG)) > 100 * CLOSE
    engine.load(policy)
    assert distance(*both(engine, policy, params, LONG)) < CLOSE


def test_vllm_plays_an_adapter_merged(engine: Colocated) -> None:
    """The plain model with the adapter's change in it."""
    pytest.importorskip("peft", reason="an adapter needs peft: pip install -c constraints.txt -e '.[lora]'")
    adapted = tiny()
    adapted.add_adapter(LoraConfig(rank=2), seed=0)
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05)
    engine.load(adapted)
    expected, found = both(engine, adapted, SamplingParams(max_tokens=6))
    assert ids(found) == ids(expected) and distance(expected, found) < CLOSE


def test_vllm_drops_what_is_not_waited_for(engine: Colocated, policy: Policy) -> None:
    """After a rollout that failed, the next one begins with new weights and no old answer."""
    draw = Draw(np.full(12, 0.5), SamplingParams(max_tokens=12), ())
    engine.ask(7, [1, 2, 3], draw)
    with pytest.raises(EngineError, match=r"still drawing.*call rest\(\) before load"):
        engine.ask(8, [1, 2, 3], draw)
        engine._engine.step()
        engine.load(policy)
    engine.rest()
    engine.load(policy)
    engine.ask(9, [1, 2, 3], draw)
    assert set(engine.finished()) == {9}


def trained(name: str, backend: Any, **learner: Any) -> tuple[list[Episode], dict[str, torch.Tensor]]:
    """Two updates of StepOPSD: what was played, and the weights."""
    config = run_config(rollout={"backend": name, "slots": 3}, learner={"rescore_old": True, **learner})
    one = Trainer(config, credit.make("step_opsd"), taught(), backend=backend)
    episodes = [episode for _ in range(2) for episode in one.step()[0]]
    return episodes, one.policy.state()


@pytest.mark.parametrize("learner", [{"mismatch": "none"}, {"lr": 3e-5}])
def test_two_updates_through_vllm_are_those_of_the_built_in_decoder(learner: dict[str, Any]) -> None:
    """The same episodes to the token, in fewer slots than attempts; the same weights.

    Without mismatch weights the updates see equal numbers; with them the ratios of rounding alone.
    """
    backend = EngineBackend(RolloutConfig(backend="vllm", max_row_tokens=512, slots=3, engine_memory=0.2))
    try:
        found, weights = trained("vllm", backend, **learner)
    finally:
        backend.close()
    expected, same = trained("builtin", rollout, **learner)
    steps = [[[s.tokens and s.tokens.sampled_ids for s in e.steps] for e in run] for run in (found, expected)]
    assert steps[0] == steps[1]
    for name, weight in same.items():
        torch.testing.assert_close(weights[name], weight, atol=1e-6, rtol=0)


def test_vllm_refuses_what_it_cannot_do() -> None:
    """In one sentence each, before anything is played."""
    env = make_stack(run_config().env)
    attempts = [Attempt(task_ids(env)[0], seed=0)]
    backend = EngineBackend(RolloutConfig(backend="vllm", max_row_tokens=512))
    with pytest.raises(EngineError, match=r"no torch\.float64 weights: set model\.dtype"):
        backend(taught("float64"), [env], attempts, PARAMS)
