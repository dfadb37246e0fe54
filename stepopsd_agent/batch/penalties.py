"""Reward shaping on the batch: records keep what the environment paid, the update sees the rest."""

from dataclasses import replace

import torch

from stepopsd_agent.batch.batch import Batch


def penalise_invalid(batch: Batch, penalty: float) -> Batch:
    """Take ``penalty`` off the reward of every step the environment refused, and off its episode's return.

    verl-agent does the same with 0.1 where a success pays 10. Success itself is untouched.
    """
    if penalty == 0:
        return batch
    cost = penalty * (~batch.steps.valid).to(batch.steps.reward.dtype)
    paid = torch.zeros_like(batch.episodes.episode_return).index_add(0, batch.steps.episode_of_step, cost)
    return replace(
        batch,
        steps=replace(batch.steps, reward=batch.steps.reward - cost),
        episodes=replace(batch.episodes, episode_return=batch.episodes.episode_return - paid),
    )
