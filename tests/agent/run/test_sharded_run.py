"""Runs whose processes hold a part of the model each: the run of one, and checkpoints for any number."""

import multiprocessing
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from stepopsd_agent.cli.main import main
from tests.helpers.command_line import refusal
from tests.helpers.launched import assert_same_run, launched, texts
from tests.helpers.models import tiny
from tests.helpers.runs import taught, train_arguments

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed"),
]
FSDP = "--learner.sharding=fsdp"
EXACT = "--model.dtype=float64"  # in float32 Adam makes a full step of a rounding error in a small gradient
SHORT = ("--updates=3", "--checkpoint_every=1", "--hindsight.refresh=2", EXACT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that wins now and then."""
    folder = tmp_path_factory.mktemp("taught") / "model"
    taught().save(folder)
    return folder


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert main(train_arguments(model, out, *SHORT)) == 0
    return out


def change(run: Path, before: str, after: str) -> None:
    """Another value in the settings of a run."""
    config = run / "config.yaml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


@pytest.mark.repeats
def test_a_run_goes_on_with_another_number_of_processes(model: Path, alone: Path, tmp_path: Path) -> None:
    """Two that share the model, then three, then one that has all of it: the run of one."""
    out, log = tmp_path / "run", tmp_path / "log"
    begin = train_arguments(model, out, *SHORT, FSDP)
    assert launched(2, [flag.replace("updates=3", "updates=1") for flag in begin], log) == [0, 0], texts(
        log, 2
    )
    change(out, "updates: 1\n", "updates: 2\n")
    resume = ["train", f"--resume={out}"]
    assert launched(3, resume, log) == [0, 0, 0], texts(log, 3)
    change(out, "updates: 2\n", "updates: 3\n")
    change(out, "sharding: fsdp", "sharding: none")
    assert main(resume) == 0
    assert_same_run(alone, out, 1e-8)


def test_a_run_of_one_process_goes_on_sharded_with_an_adapter(model: Path, tmp_path: Path) -> None:
    """Trained alone, then by two that share model and adapter; and all of it alone."""
    pytest.importorskip("peft", reason="the extra lora is not installed")
    out, log, expected = tmp_path / "run", tmp_path / "log", tmp_path / "expected"
    lora = ("--updates=2", "--checkpoint_every=1", "--learner.lora.rank=2", EXACT)
    assert main(train_arguments(model, expected, *lora)) == 0
    begin = train_arguments(model, out, *lora)
    assert main([flag.replace("updates=2", "updates=1") for flag in begin]) == 0
    change(out, "updates: 1\n", "updates: 2\n")
    change(out, "sharding: none", "sharding: fsdp")
    assert launched(2, ["train", f"--resume={out}"], log) == [0, 0], texts(log, 2)
    assert_same_run(expected, out, 1e-8)


def there_and_back(rank: int, file: str, out: "Queue[Any]") -> None:
    """One of two processes that take a checkpoint of half precision apart and put it together."""
    from stepopsd_agent.models import ShardedPolicy, Sharding
    from stepopsd_agent.run.sharded import own_tensors, whole_tensors

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    assert dist.group.WORLD is not None
    policy = ShardedPolicy(tiny(), Sharding(dist.group.WORLD, torch.device("cpu"), torch.bfloat16))
    before = checkpoint()
    parts = own_tensors(policy, before)
    policy.load_state(parts["model"])
    after = whole_tensors(policy, {**parts, "model": policy.state()})
    if rank == 0:
        same = after.keys() == before.keys() and all(
            after[file].keys() == before[file].keys()
            and all(torch.equal(after[file][name], tensor) for name, tensor in before[file].items())
            and all(after[file][name].dtype == tensor.dtype for name, tensor in before[file].items())
            for file in before
        )
        halves = sum(part.numel() for part in parts["optimizer_0"].values() if part.ndim)
        out.put((same, halves))
    dist.destroy_process_group()


def checkpoint() -> dict[str, dict[str, torch.Tensor]]:
    """What one process in half precision writes: a rounded model, copies by number, moments."""
    noise = torch.Generator().manual_seed(0)
    copies = {name: torch.randn(w.shape, generator=noise) for name, w in tiny().state().items()}
    moments: dict[str, torch.Tensor] = {}
    for number, copy in enumerate(copies.values()):
        moments |= {f"{number}.step": torch.tensor(3.0), f"{number}.exp_avg": copy + 1}
    return {
        "model": {name: copy.bfloat16() for name, copy in copies.items()},
        "masters": {str(number): copy for number, copy in enumerate(copies.values())},
        "teacher": {name: copy - 1 for name, copy in copies.items()},
        "optimizer_0": moments,
        "history": {"steps": torch.ones(3, 5, dtype=torch.int64), "returns": torch.ones(2)},
    }


def test_a_checkpoint_of_half_precision_keeps_its_files(tmp_path: Path) -> None:
    """Taken apart and put together nothing is lost, and the files are those of one process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.launched", "tests.helpers.runs"])
    out: Queue[Any] = context.Queue()
    where = str(tmp_path / "meet")
    both = [context.Process(target=there_and_back, args=(rank, where, out)) for rank in range(2)]
    for process in both:
        process.start()
    same, _ = out.get(timeout=60)
    for process in both:
        process.join(20)
    assert same


def test_half_precision_trains_sharded(model: Path, tmp_path: Path) -> None:
    """Computed in bfloat16, recomputed layers and a moving average for a teacher; then alone."""
    out, log = tmp_path / "run", tmp_path / "log"
    half = ("--updates=1", "--model.dtype=bfloat16", "--learner.gradient_checkpointing=true")
    more = ("--hindsight.teacher=ema", FSDP)
    assert launched(2, train_arguments(model, out, *half, *more), log) == [0, 0], texts(log, 2)
    change(out, "updates: 1\n", "updates: 2\n")
    change(out, "sharding: fsdp", "sharding: none")
    assert main(["train", f"--resume={out}"]) == 0


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ((FSDP,), "torchrun --nproc-per-node N"),
        ((FSDP, "--learner.muon_lr=0.01"), "Muon needs whole matrices"),
        ((FSDP, "--credit.method=turn_gae"), "needs a critic"),
        (("--learner.cpu_offload=true",), "learner.sharding none on cpu"),
    ],
)
def test_settings_that_cannot_be_had_together_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: tuple[str, ...], word: str
) -> None:
    """Before anything is loaded or written."""
    assert word in refusal(capsys, *train_arguments(tmp_path / "none", tmp_path / "run", *flags))
