"""What methods ask of a batch that read the steps of an episode one after another."""

import torch

from stepopsd_agent.batch import Batch


def check_whole(batch: Batch) -> None:
    """Refuse episodes with steps missing after their first in the batch.

    For methods that read steps one after another: a step without sampled tokens is in no batch, so what it
    paid and where it led would be left out. Before the first sampled step nothing is missed.

    Raises:
        ValueError: an episode has such a hole.
    """
    steps, last = batch.steps, batch.last_step
    follows = steps.index_in_episode[1:] == steps.index_in_episode[:-1] + 1
    holes = ~(follows | last[:-1])
    if batch.episodes.num_steps is not None:
        ends = batch.episodes.num_steps[steps.episode_of_step]
        holes = torch.cat([holes, holes.new_zeros(1)]) | (last & (steps.index_in_episode != ends))
    if holes.any():
        episode = int(steps.episode_of_step[int(holes.nonzero()[0])])
        raise ValueError(
            f"episode {episode} of the batch has steps without sampled tokens after sampled ones: what these "
            "paid and its path to the end are unknown; give episodes whose steps were all sampled from the "
            "first sampled one on"
        )
