"""Plans of runs by several processes: arithmetic by hand, and where copies of the weights live."""

from dataclasses import replace

import pytest
import torch

from stepopsd_agent.cli.main import main
from stepopsd_agent.config import LoraConfig, ModelConfig
from stepopsd_agent.run.planning import Lengths, memory_by_part, model_shape
from stepopsd_agent.run.planning.processes import (
    own_work,
    places,
    process_host_memory,
    process_memory,
)
from tests.helpers.command_line import refusal
from tests.helpers.runs import run_config

SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, vocab_size=400)
LENGTHS = Lengths(first=10, further=4, response=5, steps=3, block=6)
TEACHER = frozenset({"teacher_logprobs"})


def test_four_processes_hold_a_quarter_of_everything_trained() -> None:
    """Float32 weights, gradients and two moments: 16 bytes a weight; the whole model only to play."""
    config = run_config(learner={"sharding": "fsdp", "kl_coef": 0.1})
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    found = process_memory(config, shape, LENGTHS, 2, TEACHER, 4)
    assert found["parts of the weights"] == found["parts of the gradients"] == shape.parameters
    assert found["parts of the moments"] == 2 * shape.parameters
    assert found["the whole model, to play"] == 2 * shape.parameters
    one = memory_by_part(own_work(config, 4), shape, LENGTHS, 2, TEACHER)
    assert found["activations"] == one["activations"]
    learning = sum(
        found[name]
        for name in found
        if name in ("layers put together", "activations", "logits of the update", "output layer in float32")
        or name.startswith("gradients of a layer")
    )
    assert found["at most at once"] >= 4 * shape.parameters + learning


def test_host_memory_holds_what_is_offloaded_and_what_waits() -> None:
    """With offload nothing stays on the device; reference and current weights wait as parts."""
    config = run_config(learner={"sharding": "fsdp", "kl_coef": 0.1}, hindsight={"refresh": 10})
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    host = process_host_memory(config, shape, 2, TEACHER, 4)
    assert host["copies on the host, of each process"] == 3 * shape.parameters  # 4 bytes / 4 processes
    assert host["copies for a checkpoint, on the host of the first process"] == 5 * 4 * shape.parameters
    offload = replace(config, learner=replace(config.learner, cpu_offload=True))
    assert not [name for name in process_memory(offload, shape, LENGTHS, 2, TEACHER, 4) if "parts" in name]
    more = process_host_memory(offload, shape, 2, TEACHER, 4)
    assert sum(more.values()) - sum(host.values()) == 4 * shape.parameters


def test_an_adapter_leaves_the_weights_below_it_narrow_and_has_no_copy_of_the_first_ones() -> None:
    """Two bytes a weight over the processes, and the model without its adapter for a reference."""
    lora = LoraConfig(rank=2)
    config = run_config(learner={"sharding": "fsdp", "kl_coef": 0.1, "lora": {"rank": 2}})
    shape = model_shape(SMALL, lora, torch.bfloat16)
    found = process_memory(config, shape, LENGTHS, 2, frozenset(), 2)
    assert found["parts of the weights"] == shape.parameters + 2 * shape.trained
    where = places(config, torch.bfloat16, frozenset(), 2)
    assert where["weights at the start (reference, first teacher)"] == "the model without its adapter"
    assert "copies on the host, of each process" not in process_host_memory(config, shape, 2, frozenset(), 2)


def test_processes_that_share_work_alone_hold_everything_each() -> None:
    """The plan of one process with its share of the tasks; where copies live says so."""
    config = run_config(rollout={"tasks": 3})
    shape = model_shape(SMALL, LoraConfig(), torch.float32)
    found = process_memory(config, shape, LENGTHS, 4, TEACHER, 2)
    assert own_work(config, 2).rollout.tasks == 2
    assert found == memory_by_part(own_work(config, 2), shape, LENGTHS, 4, TEACHER)
    assert set(places(config, torch.float32, TEACHER, 2).values()) >= {
        "whole in each of 2 processes, on its device, float32",
        "those being trained",
    }


def test_the_command_tells_where_each_copy_lives(capsys: pytest.CaptureFixture[str]) -> None:
    """For so many processes; a number below one is refused."""
    flags = ["plan", "--env.tier=tiny", "--rate=1", "--bandwidth=1", "--learner.sharding=fsdp"]
    assert main([*flags, "--processes=4"]) == 0
    text = capsys.readouterr().out
    assert "memory on the device of each of 4 processes:" in text
    assert "1/4 in each process, on its device, float32" in text
    assert "where each copy" not in run_plan(capsys, "plan", "--env.tier=tiny", "--rate=1", "--bandwidth=1")
    assert "--processes is 0" in refusal(capsys, *flags, "--processes=0")


def run_plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out
