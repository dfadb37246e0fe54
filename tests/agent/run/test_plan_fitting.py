"""Plans held against the memory of a device: what is refused, and whether what is offered instead fits."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stepopsd_agent.cli.main import main
from stepopsd_agent.config import LoraConfig, ModelConfig, RunConfig
from stepopsd_agent.run.planning import Lengths, fitting, memory_by_part, model_shape
from stepopsd_agent.run.planning.fitting import GIB, Judged, device_memory, refusal
from stepopsd_agent.run.planning.playing import actor_parts, actors_beside, decoder_parts, engine_needs
from stepopsd_agent.run.planning.processes import process_memory
from tests.helpers.command_line import refusal as line_of
from tests.helpers.runs import run_config

SMALL = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, vocab_size=400)
LENGTHS = Lengths(first=10, further=4, response=5, steps=3, block=6)
NONE = frozenset[str]()
QWEN = [
    "plan", "--config", "paper/alfworld_qwen3_1.7b", "--device", "cuda", "--rate", "400", "--steps", "20"
]  # fmt: skip


def judged(config: RunConfig, memory: int, processes: int = 1) -> Judged:
    """A plan of the small model, in the type that its device would take."""
    config = replace(config, model=SMALL)
    half = torch.bfloat16 if config.device == "cuda" else torch.float32
    shape = model_shape(SMALL, config.learner.lora, half)
    return Judged(config, NONE, shape, LENGTHS, processes, memory)


def on_cuda(**parts: Mapping[str, object]) -> RunConfig:
    """Settings of a run on a GPU that need not be here."""
    return replace(run_config(**parts), device="cuda")


def test_a_run_fits_into_what_it_needs_and_into_nothing_less() -> None:
    """Passes of the stated size, one episode at a time; or of one row, where their size is left open."""
    large = {"rollout": {"tasks": 50, "slots": 20}}
    config = on_cuda(learner={"tokens_per_micro_batch": 4096}, **large)
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    planned = memory_by_part(replace(config, model=SMALL), shape, LENGTHS, 2)
    assert judged(config, 1).most() == planned["at most at once"]
    least = judged(config, 1).least()
    assert refusal(judged(config, least)) is None
    assert refusal(judged(config, least - 1)) is not None
    left_open = judged(on_cuda(learner={"tokens_per_micro_batch": "auto"}, **large), 1)
    assert left_open.least() < least
    one_row = replace(config.learner, tokens_per_micro_batch=1)
    alone = replace(config, model=SMALL, learner=one_row, rollout=replace(config.rollout, slots=1))
    assert left_open.least() == memory_by_part(alone, shape, LENGTHS, 2)["at most at once"]


def test_on_a_cpu_processes_share_one_memory_and_other_weights_lie_in_it() -> None:
    """Twice as much for two of them, and the three copies on the host of each; nothing is halved there."""
    one = judged(run_config(), 1)
    alone = memory_by_part(one.config, one.shape, LENGTHS, 4)["at most at once"]
    assert one.most() == one.least() == alone + 3 * one.shape.parameters * 4
    two = replace(one, processes=2)
    assert not replace(two, memory=2 * two.most() - 2).fits()
    assert replace(two, memory=2 * two.most()).fits()


@pytest.mark.parametrize("memory", ["40", "24", "14", "5"])
def test_what_is_offered_fits(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the settings, or all of them together, written on the command line as they stand."""
    command = [*QWEN, "--memory", memory]
    refused = main(command) == 2
    out, err = capsys.readouterr()
    line = err if refused else next(x for x in out.splitlines() if "fits only with" in x)
    assert refused == (float(memory) < 33), "weights, their copies, gradients and moments alone take 32 GiB"
    ways, each = line.partition("makes it fit: ")[2], True
    if not ways:
        ways, each = line.partition("make it fit: ")[2], False
    offers = ways.split("; ") if each else [ways]
    assert offers[0]
    for offer in offers:
        settings = shlex.split(offer.rpartition(" (")[0])
        assert main([*command, *settings]) == 0, offer
        out, err = capsys.readouterr()
        assert "fits only with" not in out and "cannot fit" not in err


def test_more_processes_than_are_tried_share_the_model_too() -> None:
    """Sixteen of them are told to, and no larger number is looked for."""
    many = judged(on_cuda(), 1, processes=16)
    assert "--learner.sharding fsdp --processes 16" in str(refusal(replace(many, memory=many.most() // 2)))


def test_the_plan_is_printed_before_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """And where the device is not here, nothing is judged without --memory."""
    assert main([*QWEN, "--memory", "1"]) == 2
    out, err = capsys.readouterr()
    assert "at most at once" in out and "memory there is on cuda: 1.0 GiB" in out
    assert err.count("\n") == 1 and "choose a smaller model.path, or a device with more memory" in err
    if not torch.cuda.is_available():
        assert main(QWEN) == 0
        assert "give --memory GIB" in capsys.readouterr().out


def test_vllm_takes_its_share_and_needs_the_weights_and_a_row() -> None:
    """In place of the decoder's cache; a server or actors take nothing of the learner's device."""
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    own = on_cuda(rollout={"backend": "vllm", "engine_memory": 0.25})
    parts = memory_by_part(own, shape, LENGTHS, 2, NONE, 10**9)
    assert parts["vLLM, while it draws"] == 25 * 10**7
    assert "key-value cache" not in parts and "logits of sampling" not in parts
    least = engine_needs(own, shape, LENGTHS, 2)
    assert least == 2 * (shape.parameters + int(LENGTHS.row) * shape.kv_width * shape.layers)
    assert refusal(judged(own, 4 * least)) is None or "vLLM" not in str(refusal(judged(own, 4 * least)))
    line = refusal(judged(own, 4 * least - 8))
    assert line is not None and line.startswith("vLLM cannot start: its share rollout.engine_memory 0.25")
    for elsewhere in ({"backend": "vllm", "url": "http://127.0.0.1:1"}, {"backend": "ray"}):
        parts = memory_by_part(on_cuda(rollout=elsewhere), shape, LENGTHS, 2, NONE, 10**9)
        assert not parts.keys() & {"vLLM, while it draws", "key-value cache", "reading of prompts"}


@pytest.mark.parametrize(
    ("games", "alone", "of_two"),
    [
        ({"num_games": 3}, 6, 3),
        ({"num_games": 40}, 40, 20),
        ({"games": "valid_seen", "num_games": None}, 64, 64),
    ],
)
def test_slots_are_filled_by_an_evaluation_of_more_episodes_than_an_update_has(
    games: dict[str, object], alone: int, of_two: int
) -> None:
    """It is played before the first update; of a split it is not known before how many games it has."""
    of_all = {"tasks": 2, "group_size": 3, "slots": 64}
    config = replace(on_cuda(rollout=of_all), eval=run_config(eval=games).eval)
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    cache = decoder_parts(config, shape, LENGTHS, 2, 1)["key-value cache"]
    own = memory_by_part(config, shape, LENGTHS, 2)["key-value cache"]
    assert own == pytest.approx(alone * cache)
    each = process_memory(config, shape, LENGTHS, 2, NONE, 2)["key-value cache"]
    actors = replace(config, rollout=replace(config.rollout, backend="ray", actors=2))
    assert each == actor_parts(actors, shape, LENGTHS, 2)["key-value cache"] == pytest.approx(of_two * cache)


@pytest.mark.parametrize(("slots", "filled"), [(5, 5), (100, 6)])
def test_each_actor_has_a_model_and_slots_for_its_groups(slots: int, filled: int) -> None:
    """Five groups of three for three actors: two groups at most, six episodes side by side."""
    of_all = {"tasks": 5, "group_size": 3}
    config = on_cuda(rollout={"backend": "ray", "actors": 3, "slots": slots, "actor_gpus": 0.5, **of_all})
    shape = model_shape(SMALL, LoraConfig(), torch.bfloat16)
    parts = actor_parts(config, shape, LENGTHS, 2)
    alone = memory_by_part(on_cuda(rollout={"slots": filled, **of_all}), shape, LENGTHS, 2)
    assert parts["key-value cache"] == alone["key-value cache"]
    assert parts["weights"] == 2 * shape.parameters
    assert parts["together"] == pytest.approx(sum(parts.values()) - parts["together"], abs=3)
    line = refusal(judged(config, 2 * parts["together"] - 8))  # its slots are halved then
    assert line is None or "actor" not in line
    single = replace(config, rollout=replace(config.rollout, slots=1))
    least = actor_parts(single, shape, LENGTHS, 2)["together"]
    line = refusal(judged(config, 2 * least - 8))
    assert line is not None and line.startswith("an actor cannot fit") and "smaller model.path" in line
    assert actor_parts(run_config(), shape, LENGTHS, 2) == {}


@pytest.mark.parametrize(
    ("device", "actors", "gpus", "count"),
    [
        ("cuda", 3, 1, 1), ("cuda:1", 3, 1, 1), ("cuda:3", 3, 1, 0), ("cuda", 4, 0.4, 2),
        ("cuda:2", 4, 0.4, 0), ("cuda", 5, 0.25, 4), ("cuda:1", 5, 0.25, 1), ("cuda", 6, 0.3333, 3),
        ("cuda:2", 2, 2, 1), ("cuda:1", 2, 2, 0), ("cuda", 3, 0, 0), ("cpu", 3, 0, 3), ("cpu", 3, 0.5, 0),
    ],
)  # fmt: skip
def test_actors_beside_the_learner_are_those_that_ray_places_there(
    device: str, actors: int, gpus: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen with `ray.init(num_gpus=4)`: it fills GPUs from the first on, and knows of no learner."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = run_config(rollout={"backend": "ray", "actors": actors, "actor_gpus": gpus})
    config = replace(config, device=device)
    assert actors_beside(config) == count
    assert actors_beside(replace(config, rollout=replace(config.rollout, backend="builtin"))) == 0
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # the cluster's GPUs, which may be elsewhere
    assert actors_beside(config) == 0


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0.5), ("cpu", 0)])
def test_actors_and_learner_on_one_device_have_to_fit_together(device: str, gpus: float) -> None:
    """The sum is refused where each alone would fit; what is offered instead fits."""
    rollout = {"backend": "ray", "actors": 2, "slots": 2, "tasks": 5, "actor_gpus": gpus}
    config = run_config(rollout=rollout, learner={"tokens_per_micro_batch": 512})
    one = judged(replace(config, device=device), 1)
    actor = actor_parts(one.config, one.shape, LENGTHS, one.weight.itemsize)["together"]
    elsewhere = replace(config.rollout, backend="vllm", url="http://127.0.0.1:1")
    apart = judged(replace(config, device=device, rollout=elsewhere), 1)
    assert one.most() == apart.most() + 2 * actor
    parts = memory_by_part(one.config, one.shape, LENGTHS, one.weight.itemsize)
    assert parts["actors of Ray on this device"] == 2 * actor
    assert refusal(replace(one, memory=one.most())) is None
    line = refusal(replace(one, memory=one.least() - 1))
    assert line is not None and line.startswith("this run cannot fit") and "--rollout.backend builtin" in line
    assert ("--device cuda:1" in line) == (device == "cuda")


def test_a_container_has_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of the group of processes counts where it is below the machine's memory; "max" is none."""
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(fitting, "_LIMITS", (str(limit),))
    machine = device_memory("cpu")
    limit.write_text("max\n")
    assert device_memory("cpu") == machine
    limit.write_text(f"{GIB // 64}\n")
    assert device_memory("cpu") == GIB // 64


def test_the_refusal_says_how_least_and_most_hang_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The most is the table's, the least what halving leaves; memory below a GiB is not rounded to none."""
    assert main([*QWEN, "--memory", "0.01"]) == 2
    out, err = capsys.readouterr()
    most = next(x for x in out.splitlines() if "at most at once" in x).split("at most at once")[1].strip()
    assert f"({most} at most, as it is set; " in err and "with slots and passes halved" in err
    assert "and 10.24 MiB are there" in err and " 0.0 GiB" not in out + err
    assert main(["plan", "alfworld_quickstart", "--memory=0.00001"]) == 2
    assert " 0.0 GiB" not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--rate", "--bandwidth", "--memory", "--steps", "--response_tokens"])
def test_plan_refuses_an_assumption_of_nothing(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Zero was taken for a number that is absent, and measured or taken from the limits."""
    for value in ("0", "-2"):
        line = f"stepopsd: error: {flag} is {float(value):g}; give a number above 0\n"
        assert line_of(capsys, "plan", "alfworld_quickstart", f"{flag}={value}") == line


def test_a_run_that_fits_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """With both figures; one that fits only when halved is not."""
    assert main([*QWEN, "--memory", "80"]) == 0
    assert "this fits: at most " in (out := capsys.readouterr().out) and "80.0 GiB are there" in out
    assert main([*QWEN, "--memory", "36"]) == 0
    assert "fits only with" in (out := capsys.readouterr().out) and "this fits" not in out
