"""Adapters: what trains, what stays, what is written."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.config import LoraConfig
from stepopsd_agent.models import Policy, load_policy
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.trainer_state import trainer_tensors
from stepopsd_envs.extras import install_command
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, stepopsd, taught, train_arguments

LORA = {"lora": {"rank": 4}}


@pytest.fixture(autouse=True)
def _needs_peft(request: pytest.FixtureRequest) -> None:
    """All but one of these tests train an adapter."""
    if "without_peft" not in request.node.name:
        pytest.importorskip("peft", reason="the extra lora is not installed")


def adapted(rank: int = 4, **fields: Any) -> Policy:
    """A tiny policy with an adapter that does something."""
    policy = tiny()
    policy.add_adapter(LoraConfig(rank, **fields), seed=0)
    generator = torch.Generator().manual_seed(0)
    policy.load_state(
        {name: torch.randn(weight.shape, generator=generator) / 5 for name, weight in policy.state().items()}
    )
    return policy


def logits(policy: Policy) -> torch.Tensor:
    """What the policy thinks of a fixed row."""
    with torch.inference_mode():
        found: torch.Tensor = policy.model(torch.arange(1, 30)[None]).logits
    return found


def trainer(**settings: Any) -> Trainer:
    """A run that trains an adapter and has not begun."""
    policy = taught()
    config = run_config(learner={**LORA, "lr": 1e-2, "kl_coef": 0.1, **settings})
    return Trainer(config, credit.make("step_opsd"), policy)


def test_without_peft_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to do without."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=re.escape(install_command("lora"))) as raised:
        tiny().add_adapter(LoraConfig(4), seed=0)
    assert raised.value.__cause__ is not None


def test_adapter_begins_without_effect_and_from_its_seed() -> None:
    """Nothing of the caller's random state is used."""
    before = torch.get_rng_state()
    one, two, other = tiny(), tiny(), tiny()
    for policy, seed in ((one, 0), (two, 0), (other, 1)):
        policy.add_adapter(LoraConfig(4), seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(logits(one), logits(tiny()))
    assert all(torch.equal(weight, two.state()[name]) for name, weight in one.state().items())
    assert any(not torch.equal(weight, other.state()[name]) for name, weight in one.state().items())


def test_adapter_alone_is_trained_and_copied() -> None:
    """Far fewer numbers than the model has."""
    policy = adapted()
    trained = sum(weight.numel() for weight in policy.state().values())
    assert 0 < trained < 0.5 * sum(p.numel() for p in tiny().model.parameters())
    assert all(".lora_" in name for name in policy.state())


def test_adapter_takes_the_layers_asked_for() -> None:
    """By their names; a name that no layer has is refused."""
    names = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in adapted(targets="q_proj,v_proj").state()}
    assert names == {"q_proj", "v_proj"}
    with pytest.raises(ValueError, match="no_such_layer"):
        tiny().add_adapter(LoraConfig(4, targets="no_such_layer"), seed=0)


def test_adapter_switched_off_is_the_model_below_it() -> None:
    """Also after an error; then it is on again."""
    policy = adapted()
    on = logits(policy)
    assert not torch.allclose(on, logits(tiny()))
    with pytest.raises(RuntimeError), policy.weights(policy.origin()):
        assert torch.equal(logits(policy), logits(tiny()))
        raise RuntimeError
    assert torch.equal(logits(policy), on)


def test_adapter_is_merged_into_the_model_that_is_written(tmp_path: Path) -> None:
    """A plain folder that computes the same; the policy goes on as it was."""
    policy = adapted()
    policy.save(tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    again = load_policy(tmp_path)
    torch.testing.assert_close(logits(again), logits(policy), atol=1e-4, rtol=1e-4)
    assert again.state().keys() == tiny().state().keys() and policy.adapted


@pytest.mark.samples
def test_training_an_adapter_leaves_the_model_and_measures_the_distance_to_it() -> None:
    """The reference is the model without the adapter; checkpoints hold the adapter alone."""
    one = trainer()
    below = {
        name: p.detach().clone() for name, p in one.policy.model.named_parameters() if not p.requires_grad
    }
    first, second = one.step()[1], one.step()[1]
    assert first["update/kl"] == pytest.approx(0, abs=1e-9) and second["update/kl"] > 0
    now = dict(one.policy.model.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in below.items())
    tensors = trainer_tensors(one)
    assert tensors["initial"] == {} and set(tensors["model"]) == set(one.policy.state())
    assert all(".lora_" in name for group in ("model", "teacher") for name in tensors[group])


@pytest.mark.samples
def test_a_run_that_trains_an_adapter_resumes_to_the_bit(tmp_path: Path) -> None:
    """Ended early, its model written and merged, then told to go on: as if it had never ended."""
    taught().save(tmp_path / "start")
    flags = ["--learner.lora.rank=4", "--learner.lr=0.01", "--learner.kl_coef=0.1"]
    runs = {"4": tmp_path / "whole", "2": tmp_path / "halves"}
    for updates, out in runs.items():
        done = stepopsd(*train_arguments(tmp_path / "start", out, *flags, f"--updates={updates}"))
        assert done.returncode == 0, done.stderr
    config = runs["2"] / "config.yaml"
    config.write_text(config.read_text().replace("updates: 2\n", "updates: 4\n", 1))
    more = stepopsd("train", "--resume", str(runs["2"]))
    assert more.returncode == 0, more.stderr
    whole, halves = (sorted((out / "checkpoints").iterdir())[-1] for out in runs.values())
    for name in ("model.safetensors", "optimizer_0.safetensors"):
        assert (whole / name).read_bytes() == (halves / name).read_bytes()
    assert (whole / "model.safetensors").stat().st_size < (
        runs["4"] / "base" / "model.safetensors"
    ).stat().st_size
    one, other = (out / "model" / "model.safetensors" for out in runs.values())
    assert one.read_bytes() == other.read_bytes()
