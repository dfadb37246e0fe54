"""What slots are for: never one empty while an attempt waits, and no token read twice."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout import Decoder, Sampled
from stepopsd_wrappers import Episode
from tests.agent.rollout.test_language_model import play, uneven
from tests.helpers.runs import draw_until, taught

pytestmark = pytest.mark.samples


def busy(steps: Sequence[int], slots: int) -> list[int]:
    """Slots at work in each turn where a free one takes the next attempt at once."""
    ends = [0] * slots
    for count in steps:
        first = ends.index(min(ends))
        ends[first] += count
    return [sum(end > turn for end in ends) for turn in range(max(ends))]


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_a_free_slot_takes_the_next_attempt_at_once(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn by turn as many responses are asked for as greedy filling allows, one for each step."""
    policy, asked, respond = taught(), list[int](), Decoder.respond

    def counting(self: Decoder, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled]:
        asked.append(len(prompts))
        return respond(self, prompts, uniforms)

    monkeypatch.setattr(Decoder, "respond", counting)

    def counted(number: int) -> list[Episode]:
        asked.clear()
        return play(policy, slots=slots, seed=f"test/{number}")

    episodes = draw_until(counted, uneven)
    steps = [episode.num_steps for episode in episodes]
    assert asked == busy(steps, slots) and sum(asked) == sum(steps)


def test_the_cache_is_kept_over_the_turns_of_an_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network reads every token of an episode once, but for the last, from which nothing follows."""
    policy, read, extend = taught(), list[int](), Policy.next_logits

    def counting(self: Policy, new: Mapping[int, Sequence[int]], cache: RowCache) -> Tensor:
        read.extend(map(len, new.values()))
        return extend(self, new, cache)

    monkeypatch.setattr(Policy, "next_logits", counting)
    episodes = play(policy, slots=3)
    steps = [step.tokens for e in episodes for step in e.steps if step.tokens]
    assert len(steps) > 2 * len(episodes)
    assert sum(read) == sum(len(t.prompt_ids) + len(t.sampled_ids) for t in steps) - len(episodes)
