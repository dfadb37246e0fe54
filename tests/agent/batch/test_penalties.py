"""Reward shaping on the batch."""

import torch

from stepopsd_agent.batch import Batch, Row, batch_from_lists, penalise_invalid


def batch() -> Batch:
    """Two episodes of two steps; the first has one invalid step, the second two."""
    valid = (True, False, False, False)
    rows: list[Row] = [
        {"input_ids": [1, 2, 3], "step_of_token": [-1, 2 * e, 2 * e + 1], "old_logprobs": [0.0, -1.0, -1.0]}
        for e in range(2)
    ]
    steps: list[Row] = [
        {
            "episode_of_step": s // 2,
            "index_in_episode": s % 2 + 1,
            "reward": float(s == 1),
            "anchor": 0,
            "state": 0,
            "valid": valid[s],
            "kind": 1,
        }
        for s in range(4)
    ]
    episodes: list[Row] = [
        {"group_of_episode": 0, "episode_return": float(e == 0), "success": e == 0} for e in range(2)
    ]
    return batch_from_lists(rows, steps, episodes)


def test_penalise_invalid_takes_it_off_step_and_return() -> None:
    """0.1 per invalid step: rewards 0, 1 - 0.1, -0.1, -0.1; returns 1 - 0.1 and -0.2; success untouched."""
    before = batch()
    after = penalise_invalid(before, 0.1)
    torch.testing.assert_close(after.steps.reward, torch.tensor([0.0, 0.9, -0.1, -0.1]))
    torch.testing.assert_close(after.episodes.episode_return, torch.tensor([0.9, -0.2]))
    assert after.episodes.success.tolist() == [True, False]
    assert before.episodes.episode_return.tolist() == [1.0, 0.0]


def test_penalise_invalid_of_zero_is_the_batch_itself() -> None:
    """Nothing to take off."""
    before = batch()
    assert penalise_invalid(before, 0.0) is before
