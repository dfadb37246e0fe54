"""The wrappers on the household environment: what is recorded there can be played again."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import stepopsd_envs  # noqa: F401  (registers the id)
from stepopsd_wrappers import Episode, make_text_env, read_episodes, replay

ENV_ID = "stepopsd/ALFWorld-v0"
ODD_RESPONSES = (
    "",
    "sing",
    "  look  ",
    "\ud800",
    "\ud83d\ude00",
    "\0\x1b[2J",
    "go to " * 9,
    "<action>look</action>",
)


def play_at_random(folder: Path, episodes: int, *, format: Any = "plain", **kwargs: Any) -> list[Episode]:
    """Record episodes of random possible commands, with an odd response now and then; one is left early."""
    rng = np.random.default_rng(0)
    env = make_text_env(gym.make(ENV_ID, step_limit=12, **kwargs), format=format, folder=folder, seed=0)
    for number in range(episodes):
        _, info = env.reset()
        for _ in range(5 if number == 0 else 12):
            commands = [*info["admissible_commands"], str(rng.choice(ODD_RESPONSES[:-1]))]
            chosen = commands[int(rng.integers(len(commands)))]
            response = chosen if format == "plain" else f"<think>why not</think><action>{chosen}</action>"
            _, _, terminated, truncated, info = env.step(response)
            if terminated or truncated:
                break
    env.close()
    return list(read_episodes(folder))


@pytest.mark.parametrize("tier", ["tiny", "small"])
def test_generated_games_replay_identically(tmp_path: Path, tier: str) -> None:
    """Every observation, reward and info, from the file alone."""
    episodes = play_at_random(tmp_path, 4, tier=tier)
    assert [str(replay(episode)) for episode in episodes] == ["identical"] * 4
    assert episodes[0].closed_early and episodes[0].env_spec["kwargs"]["tier"] == tier


def test_recorded_steps_agree_with_what_the_environment_says(tmp_path: Path) -> None:
    """The command that was parsed is the one that arrived, and the spans of the transcript hold it."""
    for episode in play_at_random(tmp_path, 2, tier="tiny", format="tags"):
        assert all(step.info["step"]["action"] == step.action for step in episode.steps)
        assert [step.info["step"]["index"] for step in episode.steps] == list(range(len(episode.steps)))
        possible = episode.steps[0].info["admissible_commands"]
        for step in episode.steps[1:]:
            assert step.info["step"]["valid"] == (step.action in possible)
            possible = step.info["admissible_commands"]


def test_one_episode_in_another_game_or_seed_differs(tmp_path: Path) -> None:
    """The negative of the test above: a replay does look."""
    one, two, *_ = play_at_random(tmp_path, 3, tier="tiny")
    assert one.task_id != two.task_id
    swapped = Episode.from_json(one.to_json().replace(one.task_id, two.task_id))
    assert not replay(swapped).equal


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize("response", [*ODD_RESPONSES, "x" * 1_000_000])
def test_no_response_raises_in_the_stack(tmp_path: Path, layout: Any, response: str) -> None:
    """And the record gives it back exactly."""
    env = make_text_env(gym.make(ENV_ID, tier="tiny"), layout=layout, folder=tmp_path)
    env.reset(seed=0)
    env.step(response)
    env.close()
    (episode,) = read_episodes(tmp_path)
    assert episode.steps[1].response == response


def test_official_games_replay_identically(tmp_path: Path, official_games: Path) -> None:
    """With the folder as the recorded data."""
    episodes = play_at_random(tmp_path, 3, games=official_games, num_games=3)
    assert [str(replay(episode)) for episode in episodes] == ["identical"] * 3
