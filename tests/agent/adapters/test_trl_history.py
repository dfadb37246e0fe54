"""A credit method that reads earlier updates goes on with them when TRL goes on from a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stepopsd_agent.adapters import Crediting, TRLRollouts
from tests.agent.adapters.test_trl_credit import GROUPS, Trainer, Watched, datasets, grpo_config
from tests.helpers.runs import PARAMS, run_config, taught

pytestmark = pytest.mark.samples


def trainer_in(out: Path, method: str = "tigpo", updates: int = 2) -> Any:
    """A trainer that writes a checkpoint after every update."""
    policy, rollouts = taught(), TRLRollouts(run_config().env, Crediting(method), PARAMS, slots=8)
    Trainer.watched = Watched(inputs=[[]])
    return Trainer(
        rollouts=rollouts,
        model=policy.model,
        processing_class=policy.tokenizer,
        args=grpo_config(out, save_strategy="steps", save_steps=1, max_steps=updates),
        train_dataset=datasets.Dataset.from_list((rollouts.rows() * GROUPS)[:GROUPS]),
    )


@pytest.mark.parametrize("last", [False, True])
def test_trl_goes_on_with_the_history_of_its_checkpoint(tmp_path: Path, last: bool) -> None:
    """A folder, or the last one there: the history is then that of a training without a stop."""
    whole = trainer_in(tmp_path / "whole")
    whole.train()
    trainer_in(tmp_path / "cut", updates=1).train()
    resumed = trainer_in(tmp_path / "cut")
    resumed.train(resume_from_checkpoint=True if last else str(tmp_path / "cut" / "checkpoint-1"))
    one, other = (trainer.rollouts.crediting.history for trainer in (whole, resumed))
    assert resumed.state.global_step == 2
    assert one.state()["tasks"] and one.state() == other.state()
    for name, tensor in one.tensors()["history"].items():
        assert torch.equal(other.tensors()["history"][name], tensor)


def test_trl_is_refused_a_checkpoint_without_the_history(tmp_path: Path) -> None:
    """It would begin with none, in silence; a method without one does not ask."""
    trainer_in(tmp_path, updates=1).train()
    (file,) = tmp_path.glob("checkpoint-1/stepopsd_history_0_of_1.safetensors")
    file.unlink()
    with pytest.raises(
        ValueError, match=r"checkpoint-1 has no stepopsd_history_0_of_1\.safetensors, and the"
    ):
        trainer_in(tmp_path).train(resume_from_checkpoint=True)
    trainer_in(tmp_path, method="grpo").train(resume_from_checkpoint=True)
