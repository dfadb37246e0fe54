"""Checkpoints: exact round trips, kills in the middle, damage, and an optimizer that goes on exactly."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stepopsd_agent.learner import load_optimizer, optimizer_tensors
from stepopsd_agent.run.files import latest_checkpoint, load_checkpoint
from stepopsd_agent.run.files.checkpoint import save_checkpoint
from stepopsd_agent.run.files.errors import CheckpointError


def example(seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """Make tensors of every kind that a run keeps: half precision, views, masks, scalars, generators."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 5, generator=generator)
    return {
        "model": {"w": weights, "half": weights.bfloat16(), "turned": weights.T, "row": weights[1]},
        "other": {"step": torch.tensor(3.0), "mask": weights > 0, "none": torch.zeros(0, 4)},
        "rng": {"torch": generator.get_state()},
    }


def equal(left: dict[str, dict[str, Tensor]], right: dict[str, dict[str, Tensor]]) -> bool:
    """Say whether two checkpoints hold the same names with bit-equal tensors of one type."""
    return left.keys() == right.keys() and all(
        left[name].keys() == right[name].keys()
        and all(
            left[name][key].dtype == right[name][key].dtype and torch.equal(left[name][key], right[name][key])
            for key in left[name]
        )
        for name in left
    )


def test_checkpoint_round_trip_is_exact(tmp_path: Path) -> None:
    """Tensors come back bit for bit and the state equal, odd floats and big integers included."""
    state = {"update": 7, "x": 0.1 + 0.2, "tiny": 5e-324, "big": 2**127 + 1, "text": "é\ud800", "none": None}
    path = save_checkpoint(tmp_path, update=1, tensors=example(), state=state)
    tensors, read = load_checkpoint(path)
    assert equal(tensors, example())
    assert read == state
    assert latest_checkpoint(tmp_path) == path


def test_checkpoint_keeps_tied_weights_tied(tmp_path: Path) -> None:
    """Two names of one tensor are stored once and come back as one tensor."""
    shared = torch.randn(64, 64)
    path = save_checkpoint(tmp_path, update=1, tensors={"model": {"embed": shared, "head": shared}}, state={})
    tensors, _ = load_checkpoint(path)
    assert tensors["model"]["embed"] is tensors["model"]["head"]
    assert torch.equal(tensors["model"]["head"], shared)
    assert (path / "model.safetensors").stat().st_size < 1.5 * shared.nbytes


def test_checkpoint_holds_random_generators(tmp_path: Path) -> None:
    """A numpy generator fits into the state and a torch one into the tensors; both go on where they were."""
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    rng.random(3)
    path = save_checkpoint(
        tmp_path,
        update=1,
        tensors={"rng": {"torch": generator.get_state()}},
        state={"rng": rng.bit_generator.state},
    )
    tensors, state = load_checkpoint(path)
    again, generator_again = np.random.default_rng(), torch.Generator()
    again.bit_generator.state = state["rng"]
    generator_again.set_state(tensors["rng"]["torch"])
    assert again.random() == rng.random()
    assert torch.equal(torch.rand(3, generator=generator_again), torch.rand(3, generator=generator))


@pytest.mark.parametrize("value", [(1, 2), {"a": (1,)}, {1: "a"}], ids=repr)
def test_checkpoint_refuses_state_that_json_would_change(tmp_path: Path, value: object) -> None:
    """A tuple would come back as a list; better to hear of it at the first save than after the resume."""
    with pytest.raises(ValueError, match=r"state\['x'\]"):
        save_checkpoint(tmp_path, update=1, tensors={}, state={"x": value})
    assert latest_checkpoint(tmp_path) is None


def test_checkpoint_refuses_state_with_nan(tmp_path: Path) -> None:
    """JSON has no NaN."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(tmp_path, update=1, tensors={}, state={"x": math.nan})


def test_checkpoint_pruning_keeps_the_newest(tmp_path: Path) -> None:
    """Only `keep` checkpoints stay, and the newest of them is the latest."""
    for update in range(12):
        newest = save_checkpoint(
            tmp_path, update=update, tensors=example(update), state={"update": update}, keep=3
        )
    assert latest_checkpoint(tmp_path) == newest
    assert [load_checkpoint(path)[1]["update"] for path in sorted(tmp_path.iterdir())] == [9, 10, 11]
    with pytest.raises(ValueError, match="keep=0"):
        save_checkpoint(tmp_path, update=1, tensors={}, state={}, keep=0)
    with pytest.raises(ValueError, match="update=-1"):
        save_checkpoint(tmp_path, update=-1, tensors={}, state={})


@pytest.mark.parametrize("step", ["save_file", "_sync", "sync_folder"])
def test_checkpoint_killed_while_writing_is_ignored_and_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What a killed process leaves is no checkpoint; the next save removes it."""

    class Killed(BaseException):
        """Stands for SIGKILL: nothing after it runs, so removal is switched off, too."""

    def kill(*arguments: object) -> None:
        raise Killed

    first = save_checkpoint(tmp_path, update=1, tensors=example(), state={"update": 1})
    with monkeypatch.context() as patch:
        patch.setattr(f"stepopsd_agent.run.files.checkpoint.{step}", kill)
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, update=2, tensors=example(2), state={"update": 2})
    assert len(list(tmp_path.iterdir())) == 2
    assert latest_checkpoint(tmp_path) == first
    second = save_checkpoint(tmp_path, update=3, tensors=example(3), state={"update": 3})
    assert sorted(tmp_path.iterdir()) == [first, second]


SAVE_FOREVER = """
import itertools, sys, torch
from stepopsd_agent.run.files.checkpoint import save_checkpoint
for update in itertools.count():
    model = {"w": torch.full((300, 300), float(update))}
    save_checkpoint(sys.argv[1], update=update, tensors={"model": model}, state={"update": update})
"""


def test_checkpoint_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    """A process that does nothing but save is killed; what is latest then is whole."""
    command = [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
        while process.poll() is None and len(list(tmp_path.glob("checkpoint-*"))) < 2:
            time.sleep(0.01)
        time.sleep(random.random() / 5)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    path = latest_checkpoint(tmp_path)
    assert path is not None
    tensors, state = load_checkpoint(path)
    assert torch.equal(tensors["model"]["w"], torch.full((300, 300), float(state["update"])))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[random.Random(0).randrange(len(content) // 2, len(content))] ^= 1
    path.write_bytes(content)


def forge_state(path: Path) -> None:
    """Change a value in valid JSON."""
    content = json.loads(path.read_text())
    content["state"]["update"] = 99
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("model.safetensors", flip, "model.safetensors is not what was written"),
        (
            "model.safetensors",
            lambda path: os.truncate(path, 200),
            "is not what was written",
        ),
        ("other.safetensors", Path.unlink, "other.safetensors is missing"),
        ("state.json", forge_state, "state.json is not what was written"),
        ("state.json", lambda path: path.write_text("{"), "state.json cannot be read"),
        ("state.json", lambda path: path.write_text("[]"), "state.json cannot be read"),
        ("state.json", lambda path: path.write_bytes(b"\xff"), "state.json cannot be read"),
        ("state.json", Path.unlink, "state.json cannot be read"),
    ],
)
def test_checkpoint_damage_is_named_and_passed_over(
    tmp_path: Path, file: str, harm: Callable[[Path], object], message: str
) -> None:
    """Loading a damaged checkpoint says what is wrong; the latest is then the one before."""
    before = save_checkpoint(tmp_path, update=1, tensors=example(), state={"update": 1})
    damaged = save_checkpoint(tmp_path, update=2, tensors=example(), state={"update": 2})
    harm(damaged / file)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(damaged)
    assert str(damaged) in str(caught.value)
    with pytest.warns(RuntimeWarning, match=message):
        assert latest_checkpoint(tmp_path) == before


def test_latest_checkpoint_of_nothing_is_none(tmp_path: Path) -> None:
    """An empty or absent folder has no checkpoint."""
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None


def test_checkpoint_on_a_full_disk_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends in one clear error; the checkpoint before stays and nothing half is left."""
    first = save_checkpoint(tmp_path, update=1, tensors=example(), state={"update": 1})

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stepopsd_agent.run.files.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*No space left.*resume"):
        save_checkpoint(tmp_path, update=2, tensors=example(), state={"update": 2})
    assert list(tmp_path.iterdir()) == [first]


def make_training(seed: int) -> tuple[torch.nn.Module, torch.optim.AdamW]:
    """Make a small model with two parameter groups and settings that differ from the defaults."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters()},
        {"params": model[2].parameters(), "lr": 0.003},
    ]
    return model, torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Take updates on data that depends on the step alone."""
    for step in steps:
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(inputs) - inputs.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("stop", [0, 3])
def test_optimizer_continues_bit_for_bit_after_a_checkpoint(tmp_path: Path, stop: int) -> None:
    """Stopped, saved, loaded into a fresh model and trained on: the weights of a run never stopped."""
    whole, whole_optimizer = make_training(1)
    train(whole, whole_optimizer, range(8))

    model, optimizer = make_training(1)
    train(model, optimizer, range(stop))
    moments, rest = optimizer_tensors(optimizer)
    save_checkpoint(
        tmp_path,
        update=stop,
        tensors={"model": model.state_dict(), "optimizer": moments},
        state={"optimizer": rest},
    )

    fresh, fresh_optimizer = make_training(2)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    tensors, state = load_checkpoint(path)
    fresh.load_state_dict(tensors["model"])
    load_optimizer(fresh_optimizer, tensors["optimizer"], state["optimizer"])
    train(fresh, fresh_optimizer, range(stop, 8))

    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), fresh.parameters(), strict=True))
    assert fresh_optimizer.state_dict()["param_groups"] == whole_optimizer.state_dict()["param_groups"]


def test_optimizer_keeps_its_own_settings_beside_the_moments_of_a_checkpoint() -> None:
    """As a critic's rate does that was changed in the config of a run before it is continued."""
    model, optimizer = make_training(1)
    train(model, optimizer, range(2))
    changed = torch.optim.AdamW([dict(group) for group in optimizer.param_groups])
    for group in changed.param_groups:
        group |= {"lr": 0.5, "weight_decay": 0.25}
    load_optimizer(changed, *optimizer_tensors(optimizer))
    assert [(group["lr"], group["weight_decay"]) for group in changed.param_groups] == [(0.5, 0.25)] * 2
    assert [int(state["step"]) for state in changed.state.values()] == [2] * 4


def test_optimizer_of_another_shape_is_refused() -> None:
    """Groups that do not match are named with their sizes."""
    model, optimizer = make_training(1)
    tensors, state = optimizer_tensors(optimizer)
    other = torch.optim.AdamW(model.parameters())
    with pytest.raises(ValueError, match=r"sizes \[2, 2\], this one \[4\]"):
        load_optimizer(other, tensors, state)
