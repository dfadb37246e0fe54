"""Steps that were not sampled after others that were: what they were paid is in no step of the batch."""

from dataclasses import replace

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import CreditMethod
from tests.agent.credit.test_conformance import every_method
from tests.helpers.builders import random_batch

REFUSAL = "has steps without sampled tokens after sampled ones"


def with_hole(batch: Batch, *, at_end: bool) -> Batch:
    """The batch whose longest episode had one step more, before its last step or after it."""
    steps, sizes = batch.steps, torch.bincount(batch.steps.episode_of_step)
    longest = int(sizes.argmax())
    assert sizes[longest] > 1
    own, ends = steps.episode_of_step == longest, sizes.clone()
    ends[longest] += 1
    index = steps.index_in_episode + (own & batch.last_step & (not at_end)).to(torch.int64)
    episodes = replace(batch.episodes, num_steps=ends)
    return replace(batch, steps=replace(steps, index_in_episode=index), episodes=episodes)


@every_method
@pytest.mark.parametrize("at_end", [False, True])
def test_a_method_refuses_a_hole_or_reads_no_reward_of_a_step(method: CreditMethod, at_end: bool) -> None:
    """Whichever it is: a reward that the environment paid is never left out without a word."""
    batch = with_hole(random_batch(3), at_end=at_end)
    try:
        found = method(batch)
    except ValueError as error:
        assert REFUSAL in str(error)
        return
    paid = batch.with_columns(reward=batch.steps.reward + torch.arange(batch.num_steps))
    assert torch.equal(method(paid).advantages, found.advantages)


@pytest.mark.parametrize("name", ["gigpo", "hgpo", "igpo", "vine", "turn_gae", "path_gain", "oracle"])
def test_methods_that_read_steps_in_their_order_refuse_a_hole(name: str) -> None:
    """The episode is named; what was not sampled before the first sampled step is no hole."""
    batch = random_batch(3)
    for at_end in (False, True):
        with pytest.raises(ValueError, match=rf"episode \d+ of the batch {REFUSAL}"):
            credit.make(name)(with_hole(batch, at_end=at_end))
    later = replace(batch.steps, index_in_episode=batch.steps.index_in_episode + 2)
    ends = torch.bincount(batch.steps.episode_of_step) + 2
    begun = replace(batch, steps=later, episodes=replace(batch.episodes, num_steps=ends))
    assert torch.equal(credit.make(name)(begun).advantages, credit.make(name)(batch).advantages)
