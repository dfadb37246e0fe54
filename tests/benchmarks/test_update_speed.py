"""The comparison with TRL: its arithmetic, and what it says where TRL is missing."""

import sys
from pathlib import Path

import pytest

from benchmarks.learner import update_speed
from stepopsd_agent.rollout import groups
from stepopsd_agent.tasks import make_stack

SIZES = {"steps": 4, "tasks": 2, "group_size": 4, "demonstrations": 1, "updates": 3}


def test_update_speed_rates_by_hand() -> None:
    """Eight episodes in the median of two, two and nine seconds; 24 of them took 96 steps and 960 tokens."""
    row = {"seconds": [2.0, 2.0, 9.0], "steps": 96, "episodes": 24, "sampled": 960, "played": 720}
    assert update_speed.figures_of(row, SIZES) == {
        "seconds_per_update": 2.0,
        "episodes_per_second": 4.0,
        "steps_per_episode": 4.0,
        "steps_per_second": 16.0,
        "sampled_tokens_per_step": 10.0,
        "thrown_away": 0.25,
    }


@pytest.mark.parametrize(
    ("times", "steps", "wasted", "good"),
    [(3.1, 20.0, 0.0, True), (2.9, 20.0, 0.0, False), (3.1, 15.0, 0.0, False), (3.1, 20.0, 0.01, False)],
)
def test_update_speed_targets_can_be_missed(times: float, steps: float, wasted: float, good: bool) -> None:
    """Slower, with shorter episodes, or with tokens thrown away."""
    rows = {
        "ours": {"steps_per_episode": steps, "thrown_away": wasted},
        "trl environment_factory": {"steps_per_episode": 19.0},
    }
    assert update_speed.reached({"rows": rows, "times_environment_factory": times}) == good


def test_update_speed_gives_trl_the_games_and_seeds_of_our_groups() -> None:
    """A row per group, in the order in which our updates play them."""
    config = update_speed.run_config(SIZES)
    env = make_stack(config.env)
    rows = update_speed.trl_tasks(config, SIZES, env)
    ours = [
        attempt
        for update in range(3)
        for attempt in groups(env, count=2, size=4, seed=config.seed, update=update)
        if attempt.member == 0
    ]
    assert [(row["task_id"], row["seed"]) for row in rows] == [(one.task_id, one.seed) for one in ours]
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_update_speed_compares_like_with_like() -> None:
    """Plain AdamW, one optimizer step on all episodes, no KL, no penalty: what the other side does, too."""
    config = update_speed.run_config(SIZES)
    assert (config.learner.muon_lr, config.learner.mini_batches, config.learner.kl_coef) == (0.0, 1, 0.0)
    assert config.rollout.invalid_penalty == 0.0 and config.rollout.slots == 8
    assert config.env.arguments["step_limit"] == 4


def test_update_speed_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that has no TRL."""
    (tmp_path / "trl.py").write_text("raise ImportError('no trl here')")
    monkeypatch.setattr(update_speed, "ROOT", tmp_path)
    config = update_speed.run_config(SIZES)
    with pytest.raises(SystemExit, match="needs TRL"):
        update_speed.theirs("rollout_func", Path(sys.executable), config, SIZES, [], tmp_path)
