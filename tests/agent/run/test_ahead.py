"""Actors that play one update ahead: what is stale, what is not, and what a resumed run does."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepopsd_agent import credit
from stepopsd_agent.rollout.engines import RayActors
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.ahead import AheadTrainer
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from stepopsd_wrappers import Episode
from tests.helpers.command_line import refusal
from tests.helpers.runs import run_config, taught, train_arguments

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray, the extra ray")
SETTINGS = {"updates": 5, "checkpoint_every": 3, "rollout": {"backend": "ray", "actors": 1, "ahead": True}}


def tokens(episodes: list[Episode]) -> list[tuple[int, ...]]:
    """Ids of every sampled response."""
    return [step.tokens.sampled_ids for e in episodes for step in e.steps if step.tokens]


@pytest.fixture(scope="module")
def actors() -> Iterator[RayActors]:
    """One actor for all tests of this file."""
    players = RayActors(1)
    yield players
    players.close()
    import ray

    ray.shutdown()


def ahead(actors: RayActors) -> AheadTrainer:
    """A trainer that has made no update."""
    return AheadTrainer(run_config(**SETTINGS), credit.make("grpo"), taught(), run="r", backend=actors)


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
def test_groups_are_one_update_old_except_after_a_checkpoint(actors: RayActors) -> None:
    """A checkpoint follows three updates, so those before updates 0 and 3 are fresh."""
    trainer = ahead(actors)
    steps = [trainer.step() for _ in range(5)]
    assert [metrics["train/staleness"] for _, metrics, _ in steps] == [0, 1, 1, 0, 1]
    assert [{e.update for e in episodes} for episodes, _, _ in steps] == [{0}, {1}, {2}, {3}, {4}]
    assert trainer._begun is None  # nothing is played that no update will learn from
    trainer.close()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
def test_stale_groups_are_those_of_the_weights_before(actors: RayActors) -> None:
    """Update 1 plays what a trainer without actors would with the weights from before update 0."""
    trainer = ahead(actors)
    trainer.step()
    stale, _, _ = trainer.step()
    plain = Trainer(run_config(updates=5), credit.make("grpo"), taught(), run="r")
    plain.update = 1  # of the initial weights
    assert tokens(plain.collect()) == tokens(stale)
    trainer.close()
    plain.close()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
def test_run_from_a_checkpoint_goes_where_an_uninterrupted_one_went(actors: RayActors) -> None:
    """After three updates a new trainer takes over; the two that follow are token for token the same."""
    trainer = ahead(actors)
    for _ in range(3):
        trainer.step()
    tensors = trainer_tensors(trainer)
    kept = {name: {key: value.clone() for key, value in group.items()} for name, group in tensors.items()}
    state = trainer_state(trainer)
    expected = [tokens(trainer.step()[0]) for _ in range(2)]
    trainer.close()
    resumed = ahead(actors)
    restore_trainer(resumed, kept, state)
    assert [tokens(resumed.step()[0]) for _ in range(2)] == expected
    resumed.close()


@pytest.mark.samples
def test_ahead_without_actors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command before anything is written, and by the class."""
    arguments = train_arguments(tmp_path / "model", tmp_path / "out", "--rollout.ahead=true")
    assert "rollout.backend ray" in refusal(capsys, *arguments)
    with pytest.raises(ValueError, match=r"rollout\.ahead needs actors"):
        AheadTrainer(run_config(), credit.make("grpo"), taught())


CHANGED = ["--rollout.top_p=0.9", "--rollout.top_k=5", "--learner.rescore_old=true"]
"""Settings with which the old log-probabilities are computed again, by newer weights."""


@pytest.mark.samples
@pytest.mark.parametrize("flag", CHANGED)
def test_ahead_is_refused_where_recorded_logprobs_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    """The loss would take stale groups for fresh ones."""
    more = ["--rollout.backend=ray", "--rollout.ahead=true", flag]
    assert "one update old" in refusal(capsys, *train_arguments(tmp_path / "model", tmp_path / "out", *more))


@needs_ray
@pytest.mark.samples
@pytest.mark.parametrize("flag", CHANGED)
def test_ahead_trainer_refuses_recomputed_logprobs(flag: str) -> None:
    """The class as the command does; no actor is started for it."""
    name, _, value = flag[2:].partition("=")
    section, key = name.split(".")
    given: dict[str, Any] = {**SETTINGS, "learner": {}}
    config = run_config(**{**given, section: {**given[section], key: yaml.safe_load(value)}})
    with pytest.raises(ValueError, match="recorded in sampling"):
        AheadTrainer(config, credit.make("grpo"), taught(), backend=RayActors(1))
