"""Plans beside what happens: parameters, tokens, memory kept for the backward pass, and the command."""

import json
import re
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.cli.main import main
from stepopsd_agent.config import LoraConfig, ModelConfig, config_from_dict
from stepopsd_agent.credit import Credit
from stepopsd_agent.learner import Critic, Learner
from stepopsd_agent.models import ModelFolderError, load_policy, tiny_shape
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.planning import Lengths, expected_lengths, memory_by_part, model_shape
from stepopsd_agent.run.planning.first_update import first_update, in_words
from stepopsd_agent.run.planning.lengths import _require_server, played_lengths
from stepopsd_agent.run.planning.plan import (
    checkpoint_memory,
    kept_with_checkpointing,
)
from stepopsd_agent.run.planning.playing import cache_columns
from stepopsd_agent.run.planning.shapes import KNOWN
from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from tests.agent.learner.test_learner import batch_for
from tests.agent.rollout.test_language_model import play
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught, train_arguments

NO_LORA = LoraConfig()
SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, vocab_size=400)


@pytest.mark.parametrize(
    ("path", "parameters"), [("Qwen/Qwen3-1.7B", 1_720_574_976), ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688)]
)
def test_shape_of_published_models(path: str, parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes their authors state, without weights and without the hub; the cache as heads say."""

    def unreachable(*arguments: Any, **options: Any) -> None:
        raise OSError("no hub here")

    monkeypatch.setattr("stepopsd_agent.run.planning.shapes.AutoConfig.from_pretrained", unreachable)
    shape = model_shape(ModelConfig(path=path), NO_LORA, torch.bfloat16)
    assert shape.parameters == shape.trained == parameters
    assert shape.kv_width == 2 * 128 * KNOWN[path]["num_key_value_heads"]
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        model_shape(ModelConfig(path="Nobody/Nothing"), NO_LORA, torch.bfloat16)


@pytest.mark.samples
def test_shape_counts_what_is_loaded(taught_model: Path) -> None:
    """Parameters of a folder's model, and of an adapter on it."""
    config = ModelConfig(path=str(taught_model))
    policy = load_policy(taught_model)
    shape = model_shape(config, NO_LORA, torch.float32)
    assert shape.parameters == sum(p.numel() for p in policy.model.parameters())
    assert shape.parameters == shape.body + shape.head  # tied
    assert model_shape(SMALL, NO_LORA, torch.float32).parameters > 0
    pytest.importorskip("peft", reason="needs the extra lora")
    lora = LoraConfig(rank=3)
    policy.add_adapter(lora, 0)
    trained = sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    assert model_shape(config, lora, torch.float32).trained == trained


@pytest.mark.parametrize("checkpointing", [False, True])
def test_plan_of_activations_is_what_the_update_keeps(checkpointing: bool) -> None:
    """Bytes that a real update keeps for its backward pass, within a tenth; the output layer's beside."""
    policy = tiny()
    batch = batch_for(policy, episodes=16)
    settings = run_config(learner={"kl_coef": 0.0, "gradient_checkpointing": checkpointing}).learner
    kept: dict[int, Tensor] = {}
    own = {p.untyped_storage()._cdata for p in policy.model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    learner = Learner(policy, **settings.of_update())
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        learner.update(batch, Credit(torch.where(batch.action_mask, 1.0, 0.0)))
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    shape = model_shape(replace(SMALL, vocab_size=len(policy.tokenizer)), NO_LORA, torch.float32)
    tokens, places = learner.budget.take(), int(batch.action_mask.sum())
    planned = tokens * shape.activations
    if checkpointing:  # what a layer begins with; all else is there for one layer at a time
        planned = tokens * kept_with_checkpointing(shape, 4)
    logits = places * shape.vocabulary * 4
    assert planned + logits == pytest.approx(found, rel=0.1)


@pytest.mark.samples
@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize(
    "hindsight",
    [
        {"position": "inline"},
        {"position": "inline", "mode": "correctness+peer"},  # lost episodes are longer, and are told more
        {"position": "prefix", "mode": "correctness+peer"},
        {"mode": "none"},
    ],
)
def test_plan_of_tokens_is_what_an_update_counts(
    layout: str, hindsight: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the update's own lengths: generated to the token, the others within two in a hundred."""
    config = run_config(
        env={"layout": layout}, hindsight={"mode": "correctness", **hindsight}, learner={"rescore_old": True}
    )
    monkeypatch.setattr(
        "stepopsd_agent.run.trainer.teacher_rows", lambda method, batch: None
    )  # flat groups too
    one = Trainer(config, credit.make("step_opsd"), taught())
    found = first_update(one, one.step()[0])
    for name, row in found["tokens"].items():
        assert row["counted"] == pytest.approx(row["planned"], rel=1e-6 if name == "generated" else 0.02), (
            name
        )
    assert "generated" in in_words(found)


def test_plan_says_when_memory_went_beyond_it() -> None:
    """In the line that a run prints."""
    found = {"tokens": {}, "memory": {"planned": 2**30, "peak": 2**31}}
    assert in_words(found).endswith("memory 2.00 GiB (planned 1.00 GiB), more than planned")
    assert in_words({**found, "memory": {"planned": 2**30, "peak": 2**30}}).endswith(
        "memory 1.00 GiB (planned 1.00 GiB)"
    )


@pytest.mark.samples
@pytest.mark.parametrize(("layout", "most"), [("transcript", 512), ("transcript", 160), ("window", 512)])
def test_plan_of_the_cache_is_above_its_peak(layout: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places and bytes at their most, where episodes begin beside longer ones; not far above."""
    config = run_config(
        env={"num_games": 3, "layout": layout},
        rollout={"tasks": 3, "group_size": 2, "slots": 2, "max_row_tokens": most},
    )
    peaks, read = [(0, 0)], RowCache.read

    def noted(self: RowCache, *given: Any) -> Tensor:
        out = read(self, *given)
        size = sum(part.nbytes for held in self.layers for part in held)  # with the room for tokens to come
        peaks.append((max(map(len, self.held)), size))
        return out

    monkeypatch.setattr(RowCache, "read", noted)
    policy = tiny()
    episodes = play(policy, 2, config.env, max_tokens=config.rollout.max_tokens, max_row_tokens=most)
    lengths = played_lengths(episodes, 0)
    tokens = [step.tokens for e in episodes for step in e.steps[1:] if step.tokens is not None]
    longest = replace(
        lengths,
        first=max(len(one.prompt_ids) for one in tokens),
        response=max(len(one.sampled_ids) for one in tokens),
        steps=max(e.num_steps for e in episodes),
    )
    shape = model_shape(replace(SMALL, vocab_size=len(policy.tokenizer)), NO_LORA, torch.float32)
    columns = cache_columns(config, shape, longest)
    most_columns, most_bytes = (max(found) for found in zip(*peaks, strict=True))
    assert most_columns <= columns <= 3 * most_columns
    assert most_bytes <= memory_by_part(config, shape, longest, 4)["key-value cache"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 2])
def test_plan_of_the_critic_and_checkpoint_is_what_they_hold(dtype: Any, rank: int) -> None:
    """Weights, full-precision copies, gradients and moments of a critic after an update; of adapters, too."""
    policy, lora = tiny(dtype), LoraConfig(rank=rank)
    if rank:
        pytest.importorskip("peft", reason="needs the extra lora")
        policy.add_adapter(lora, 0)
    batch = batch_for(policy)
    critic = Critic(policy)
    critic.learn(batch, torch.ones(batch.num_steps))
    held = [*critic.parameters, *(m for m in critic.masters.trained if m not in set(critic.parameters))]
    sizes = sum(p.nbytes for p in held) + sum(p.nbytes for p in critic.masters.trained)  # as many gradients
    moments = [v for one in critic.optimizer.state.values() for v in one.values() if v.ndim]
    shape = model_shape(replace(SMALL, vocab_size=len(policy.tokenizer)), lora, policy.model.dtype)
    lengths = Lengths(first=10, further=4, response=5, steps=3, block=0)
    config = run_config(learner={"lora": {"rank": rank}, "kl_coef": 0.0})
    planned = memory_by_part(config, shape, lengths, policy.model.dtype.itemsize, frozenset({"value"}))
    assert planned["critic"] == sizes + sum(v.nbytes for v in moments)
    saved = sum(t.nbytes for part in critic.tensors().values() for t in part.values() if t.ndim)
    both = [
        checkpoint_memory(config, shape, policy.model.dtype.itemsize, needs)
        for needs in (frozenset({"value"}), frozenset[str]())
    ]
    assert both[0] - both[1] == saved


def test_expected_lengths_are_those_of_an_expert_within_its_rows() -> None:
    """Fewer steps where a row would be full; missing official games are replaced by generated ones."""
    config = run_config(env={"step_limit": 30}, rollout={"max_row_tokens": 200})
    lengths, basis = expected_lengths(config)
    assert 1 <= lengths.steps < 30 and lengths.row <= 201
    assert any("letters per token" in one for one in basis)
    told, basis = expected_lengths(config, steps=2, response=3)
    assert (told.steps, told.response) == (2, 3) and "2 steps per episode, as told" in basis
    assert any(one.endswith("read at each further step") for one in basis)
    missing = config.env.changed(games="train", data_root="/nonexistent", num_games=None)
    official = replace(config, env=missing)
    assert any("real ones are not at hand" in one for one in expected_lengths(official)[1])


def test_expected_lengths_do_not_wait_for_a_server_that_is_not_started() -> None:
    """A plan is made before anything runs; a search would try for half a minute."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects and never answers
        started = time.monotonic()
        with pytest.raises(RetrieverError):
            _require_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 5


@pytest.mark.samples
def test_played_lengths_are_means() -> None:
    """Over episodes, and over steps."""
    episodes = play(taught())
    lengths = played_lengths(episodes, 7.0)
    tokens = [s.tokens for e in episodes for s in e.steps[1:] if s.tokens is not None]
    assert lengths.steps * len(episodes) == pytest.approx(len(tokens))
    assert lengths.row * len(episodes) == pytest.approx(
        sum(len(t.prompt_ids) + len(t.sampled_ids) for t in tokens)
    )


@pytest.mark.samples
def test_plan_command_prints_all_parts(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file named without a flag, with settings changed by flags; measured and stated rates."""
    file = tmp_path / "config.yaml"
    file.write_text(
        json.dumps({"env": {"tier": "tiny", "step_limit": 8}, "model": {"path": str(taught_model)}})
    )
    assert main(["plan", str(file), "--updates", "3", "--credit.method", "grpo"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "memory on the device:",
        "at most at once",
        "tokens per update",
        "its tokenizer",
        "3 updates",
    ):
        assert part in shown
    assert "teacher" not in shown and "measured" in shown
    assert main(["plan", "--config", str(file), "--rate", "100", "--steps", "4"]) == 0
    shown = capsys.readouterr().out
    assert (
        "the stated 100 TFLOP/s" in shown and "4 steps per episode, as told" in shown and "teacher" in shown
    )
    if not torch.cuda.is_available():
        assert main(["plan", str(file), "--device", "cuda"]) == 0
        assert "cuda is not here to be measured; give --rate" in capsys.readouterr().out


def test_plan_command_refuses_what_it_cannot_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model whose configuration is nowhere."""
    assert main(["plan", "--model.path", str(tmp_path / "none")]) == 2
    assert "config.json" in capsys.readouterr().err


def test_plan_command_needs_no_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Transformers makes one of no words for a folder of a configuration alone."""
    tiny_shape(SMALL, 400, 0).save_pretrained(tmp_path)
    assert main(["plan", "--model.path", str(tmp_path), "--env.tier", "tiny", "--rate", "1"]) == 0
    assert "letters per token, as its tokenizer is not at hand" in capsys.readouterr().out


@pytest.mark.samples
def test_run_checks_its_plan_at_the_first_update(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line on screen, and a file."""
    out = tmp_path / "run"
    assert main(train_arguments(taught_model, out, "--updates=2")) == 0
    shown = capsys.readouterr().err
    (line,) = re.findall("first update beside a plan for its lengths: .*", shown)
    part, time = r"{} [\d,]+ \(planned [\d,]+\)", r"; [\d.]+ s \(planned [\d.]+ s\)"
    told = ", ".join(part.format(name) for name in ("tokens generated", "scored", "trained")) + time
    assert re.search(told, line), line
    found = json.loads((out / "plan.json").read_text())
    assert found["tokens"]["generated"]["counted"] > 0
    assert all(row["planned"] > 0 and row["taken"] > 0 for row in found["time"].values())
    assert config_from_dict({}).updates == 150
