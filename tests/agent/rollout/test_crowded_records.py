"""Episodes that begin again where memory runs out are recorded once."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout import SamplingParams, groups, rollout
from stepopsd_wrappers import EpisodeWriter, make_text_env, read_episodes
from tests.helpers.models import tiny

pytestmark = pytest.mark.samples


def test_rollout_leaves_no_record_of_episodes_that_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the middle of episodes, which a writer keeps: each attempt is there once, whole."""
    policy, passes = tiny(), 0
    run = policy.next_logits

    def crowded(new: Any, cache: RowCache) -> torch.Tensor:
        nonlocal passes
        passes += 1
        if len(cache.held) > 2 and passes > 14:  # some steps were taken by then
            raise torch.OutOfMemoryError("out of memory, as the test wants it")
        return run(new, cache)

    monkeypatch.setattr(policy, "next_logits", crowded)
    with EpisodeWriter(tmp_path) as writer:
        envs = [
            make_text_env(
                gym.make("stepopsd/ALFWorld-v0", tier="tiny", num_games=2, step_limit=4),
                format="plain",
                writer=writer,
            )
            for _ in range(4)
        ]
        params = SamplingParams(max_tokens=4, max_row_tokens=600)
        attempts = groups(envs[0], count=2, size=4, seed=0)
        with pytest.warns(RuntimeWarning, match="out of memory with 4 episodes"):
            played = rollout(policy, envs, attempts, params)
    kept = list(read_episodes(tmp_path))
    assert sorted((e.group, e.member) for e in kept) == sorted((e.group, e.member) for e in played)
    assert not any(e.closed_early for e in kept) and len(kept) == len(attempts)
