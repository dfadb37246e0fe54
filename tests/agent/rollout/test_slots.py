"""What slots are for: never one empty while an attempt waits, and no token read twice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout import Decoder, rollout
from stepopsd_wrappers import Episode
from tests.agent.rollout.test_language_model import PARAMS, attempts, play, stacks, uneven
from tests.helpers.runs import draw_until, taught

pytestmark = pytest.mark.samples


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_a_free_slot_takes_the_next_attempt_at_once(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever responses are asked for, every slot has a row while there are attempts; half answer."""
    policy, respond, answered, ended = taught(), Decoder.respond, list[int](), list[Episode]()

    def counting(self: Decoder, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> Any:
        assert len(prompts) == min(slots, len(attempts()) - len(ended))
        found = respond(self, prompts, uniforms)
        answered.append(sum(answer is not None for answer in found))
        assert answered[-1] >= len(prompts) / 2
        return found

    monkeypatch.setattr(Decoder, "respond", counting)

    def counted(number: int) -> list[Episode]:
        answered.clear()
        ended.clear()
        seed = f"test/{number}"
        return rollout(policy, stacks(slots), attempts(), PARAMS, seed=seed, on_episode=ended.append)

    episodes = draw_until(counted, uneven)
    assert sum(answered) == sum(episode.num_steps for episode in episodes)


def test_no_token_of_an_episode_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network reads each once, or copies it from another member's beginning; but not the last one."""
    policy, read, copied = taught(), list[int](), list[int]()
    extend, begin = Policy.next_logits, RowCache.begin

    def counting(self: Policy, new: Mapping[int, Sequence[int]], cache: RowCache) -> Tensor:
        read.extend(map(len, new.values()))
        return extend(self, new, cache)

    def beginning(self: RowCache, row: int, source: int, count: int) -> None:
        copied.append(count)
        begin(self, row, source, count)

    monkeypatch.setattr(Policy, "next_logits", counting)
    monkeypatch.setattr(RowCache, "begin", beginning)
    episodes = play(policy, slots=3)
    steps = [step.tokens for e in episodes for step in e.steps if step.tokens]
    assert len(steps) > 2 * len(episodes)
    drawn = sum(len(t.prompt_ids) + len(t.sampled_ids) for t in steps)
    assert sum(read) + sum(copied) == drawn - len(episodes)
    first = {e.group: len(e.steps[1].tokens.prompt_ids) for e in episodes if e.steps[1].tokens}
    assert sum(copied) >= sum(first.values()) - len(first)  # the second member reads one token of it
