"""TRL in two processes: each plays whole groups of its own, and all learn the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.runs import environment

for package in ("trl", "datasets"):
    pytest.importorskip(package, reason="the extra trl is not installed")
pytestmark = pytest.mark.samples

PROGRAM = """
import json, sys
from pathlib import Path
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from stepopsd_agent.adapters import Crediting, StepCredit, TRLRollouts
from stepopsd_agent.models import load_policy
from tests.helpers.runs import PARAMS, run_config

class Trainer(StepCredit, GRPOTrainer):
    sums = []

    def _compute_loss(self, model, inputs):
        self.sums.append(inputs["advantages"].abs().sum().item())
        return super()._compute_loss(model, inputs)

model, out, group = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
policy = load_policy(model)
rollouts = TRLRollouts(run_config().env, Crediting("step_opsd"), PARAMS, slots=8)
args = GRPOConfig(
    output_dir=str(out / "trl"), per_device_train_batch_size=8, num_generations=group, max_steps=2,
    learning_rate=1e-3, lr_scheduler_type="constant", temperature=1.0, bf16=False, use_cpu=True,
    gradient_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True,
)
rows = Dataset.from_list(rollouts.rows() * 4)
trainer = Trainer(
    rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer, train_dataset=rows, args=args
)
trainer.train()
found = {
    "weights": sum(value.double().abs().sum().item() for value in policy.state().values()),
    "seeds": [episode.seed for episode in rollouts.episodes],
    "sums": trainer.sums,
}
(out / f"{trainer.accelerator.process_index}.json").write_text(json.dumps(found))
"""


def two_processes(model: Path, out: Path, group: int) -> "subprocess.CompletedProcess[str]":
    """Run the program as `torchrun` does."""
    (out / "program.py").write_text(PROGRAM, encoding="utf-8")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(out / "program.py"), str(model), str(out), str(group)]
    return subprocess.run(
        [*start, *arguments], env=environment(), capture_output=True, text=True, timeout=250
    )


def test_trl_learns_the_same_in_two_processes(taught_model: Path, tmp_path: Path) -> None:
    """From different attempts: the weights end equal, each process has credit of its own."""
    done = two_processes(taught_model, tmp_path, 4)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one["weights"] == other["weights"]
    assert len(set(one["seeds"])) == len(set(other["seeds"])) == 2  # groups of four
    assert not set(one["seeds"]) & set(other["seeds"])
    assert len(one["sums"]) == len(other["sums"]) == 2 and one["sums"] != other["sums"]


def test_trl_groups_are_not_split_over_processes(taught_model: Path, tmp_path: Path) -> None:
    """The settings to change are named."""
    done = two_processes(taught_model, tmp_path, 16)
    assert done.returncode != 0
    assert "8 prompts do not make whole groups of 16 in this process" in done.stderr
