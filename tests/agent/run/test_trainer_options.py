"""Options beside the credit method: further rounds for groups without variance, a moving-average teacher."""

from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.rollout import EnvironmentDownError, group_ids, mixed_groups
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.trainer_state import trainer_tensors
from stepopsd_wrappers import Episode
from tests.helpers.runs import draw_until, run_config, taught

pytestmark = pytest.mark.samples


def trainer(**settings: Any) -> Trainer:
    """A run of GRPO that has not begun."""
    return Trainer(run_config(**settings), credit.make("grpo"), taught())


def test_further_rounds_are_played_until_enough_groups_are_mixed() -> None:
    """Groups of two at a game won every other time: half of them are mixed, so more rounds are needed."""

    def filled_late(one: Trainer) -> bool:
        episodes = one.collect()
        return len(group_ids(mixed_groups(episodes))) == 4 < len(group_ids(episodes))

    rollout = {"group_size": 2, "tasks": 4, "slots": 8, "max_rounds": 6}
    one = draw_until(lambda seed: trainer(seed=seed, rollout=rollout), filled_late)
    episodes, metrics, _ = one.step()
    chosen = one.chosen(episodes)
    groups = group_ids(episodes)
    assert len(groups) > 4 and groups[:4] == [0, 1, 2, 3]
    assert len(episodes) == 2 * len(groups)  # no number is given twice
    assert len(group_ids(chosen)) == 4 and mixed_groups(chosen) == chosen
    assert metrics["credit/groups_without_credit"] == 0.0
    assert one.counters.wasted == one.counters.generated - sum(
        len(step.tokens.sampled_ids) for e in chosen for step in e.steps if step.tokens
    )
    seeds = {(e.group, e.seed) for e in episodes}
    assert len({seed for _, seed in seeds}) == len(groups)


def test_rounds_end_at_their_limit_and_are_the_same_after_a_resume() -> None:
    """Two rounds at most; an update made again plays the same episodes."""
    settings = {"group_size": 2, "tasks": 8, "slots": 8, "max_rounds": 2}
    one, two = trainer(rollout=settings), trainer(rollout=settings)
    assert len(group_ids(one.collect())) <= 16
    assert one.collect() == two.collect()


def test_without_further_rounds_nothing_is_left_out() -> None:
    """The default learns from every group, mixed or not."""
    one = trainer()
    episodes, _, _ = one.step()
    assert one.chosen(episodes) == episodes and one.counters.wasted == 0


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_an_ema_teacher_moves_a_share_of_the_way(rate: float) -> None:
    """Before each update; at 0 it stays, at 1 it is the present policy."""
    config = run_config(hindsight={"teacher": "ema", "ema_rate": rate})
    one = Trainer(config, credit.make("step_opsd"), taught())
    start = one.policy.state()
    one.step()
    now = one.policy.state()
    one.step()
    weights = one.teacher_weights()
    assert weights is not None
    for name, weight in weights.items():
        torch.testing.assert_close(
            weight, start[name] + rate * (now[name] - start[name]), atol=1e-7, rtol=1e-5
        )


def test_an_ema_teacher_does_not_move_for_an_update_that_was_not_made() -> None:
    """Where the environment is down a checkpoint is written, and the update made again: it moves then."""
    config = run_config(hindsight={"teacher": "ema", "ema_rate": 0.5})
    one = Trainer(config, credit.make("step_opsd"), taught())
    episodes, _, _ = one.step()

    def down(*_: object, **__: object) -> list[Episode]:
        raise EnvironmentDownError(tuple(episodes))

    before, one.backend = trainer_tensors(one)["teacher"], down
    with pytest.raises(EnvironmentDownError):
        one.step()
    after = trainer_tensors(one)["teacher"]
    assert all(torch.equal(before[name], weight) for name, weight in after.items())
