"""Who plays and who shares an update are arguments: other backends and groups of processes go in there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from torch import distributed as dist

from stepopsd_agent import credit
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Attempt, Backend, SamplingParams, evaluate_policy, rollout
from stepopsd_agent.run import Trainer
from stepopsd_wrappers import Episode
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples


@dataclass
class Elsewhere:
    """Plays with another copy of the weights, as a worker would, and counts what it was asked for."""

    worker: Policy
    asked: list[int] = field(default_factory=list)

    def __call__(
        self,
        policy: Policy,
        envs: Sequence[gym.Env[str, str]],
        attempts: Sequence[Attempt],
        params: SamplingParams | None = None,
        *,
        seed: int | str = 0,
        run: str = "",
        update: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """As `rollout`, with the weights sent over."""
        self.asked.append(len(attempts))
        self.worker.load_state(policy.state())
        return rollout(
            self.worker, envs, attempts, params, seed=seed, run=run, update=update, on_episode=on_episode
        )


def trainer(
    name: str = "grpo", backend: Backend = rollout, group: dist.ProcessGroup | None = None
) -> Trainer:
    """A run that has not begun."""
    config = run_config(rollout={"mc_rollouts": 1, "tasks": 1})
    return Trainer(config, credit.make(name), taught(), backend=backend, group=group)


@pytest.mark.parametrize("name", ["grpo", "vine"])
def test_a_trainer_plays_through_its_backend_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups and the attempts of Monte-Carlo values; the same run as without."""
    expected = trainer(name)
    rows = [expected.step()[1] for _ in range(2)]
    for module in ("run.trainer", "learner.monte_carlo"):
        monkeypatch.setattr(f"stepopsd_agent.{module}.rollout", None)
    backend = Elsewhere(taught())
    one = trainer(name, backend)
    assert [one.step()[1] for _ in range(2)] == rows
    assert len(backend.asked) == (2 if name == "grpo" else 4)


def test_evaluation_plays_through_the_backend_it_is_given() -> None:
    """The same records as without."""
    policy, backend = taught(), Elsewhere(taught())
    expected = evaluate_policy(policy, run_config())
    assert evaluate_policy(policy, run_config(), backend=backend) == expected
    assert backend.asked == [len(expected)]


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_a_trainer_updates_in_the_group_it_is_given(tmp_path: Path) -> None:
    """A group of this process alone changes nothing; without one nothing global is looked for."""
    alone = trainer()
    alone.step()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        one = trainer(group=dist.new_group([0]))
        assert one.learner.group is one.group is not None
        assert trainer().learner.group is None
        one.step()
    finally:
        dist.destroy_process_group()
    for name, weight in alone.policy.state().items():
        assert torch.equal(weight, one.policy.state()[name])
