"""What a policy does with prompts that have no room, and where memory runs out."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent.models import PlayLimits
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout import rollout
from stepopsd_wrappers import Episode
from tests.agent.rollout.test_language_model import GAMES, PARAMS, attempts, play, sampled, stacks
from tests.helpers.models import crowded
from tests.helpers.runs import taught

pytestmark = pytest.mark.samples


@pytest.mark.parametrize(("layout", "most"), [("transcript", 50), ("window", 120)])
def test_rollout_shortens_prompts_around_the_task(layout: Any, most: int) -> None:
    """A prompt without room keeps the task, ends as ever, and is counted."""
    policy = taught()
    config = replace(GAMES, layout=layout)
    before = policy.play.shortened
    episodes = play(policy, config=config, max_row_tokens=most)
    prompts = [
        (step.tokens.prompt_ids, str(e.steps[0].info["goal"]))
        for e in episodes
        for step in e.steps[1:]
        if step.tokens is not None and step.tokens.new_row
    ]
    assert policy.play.shortened - before == len(prompts)
    for ids, goal in prompts:
        text = str(policy.tokenizer.decode(list(ids)))
        assert goal in text and text.endswith("\n> ") and len(ids) <= most - PARAMS.max_tokens


def test_rollout_cuts_a_task_that_has_no_room_at_all() -> None:
    """Its middle goes, with a warning, and the episode is played."""
    with pytest.warns(RuntimeWarning, match="raise rollout.max_row_tokens"):
        episodes = play(taught(), max_row_tokens=PARAMS.max_tokens + 8)
    first = episodes[0].steps[1].tokens
    assert first is not None and len(first.prompt_ids) == 8


def test_rollout_does_not_count_prompts_that_have_room() -> None:
    """None is shortened at the usual size."""
    policy = taught()
    before = policy.play.shortened
    play(policy)
    assert policy.play.shortened == before


def test_rollout_reads_prompts_in_passes_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pass of reading is larger than the limit, and the tokens are the same."""
    policy = taught("float64")
    whole = play(policy)
    sizes = list[int]()
    run = policy.next_logits

    def noted(new: Any, cache: RowCache) -> torch.Tensor:
        sizes.append(sum(map(len, new.values())))
        return run(new, cache)

    monkeypatch.setattr(policy, "next_logits", noted)
    monkeypatch.setattr(policy.play, "tokens", 37)
    assert sampled(play(policy)) == sampled(whole)
    assert max(sizes) <= 37 and sizes.count(37) > 3


@pytest.mark.parametrize("most", [50, 3])
def test_rollout_goes_on_where_memory_runs_out(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With smaller passes, which hold fewer rows than there are: the same records, each told of once."""
    policy = taught("float64")
    whole = play(policy)
    monkeypatch.setattr(policy, "play", PlayLimits())
    told = list[Episode]()
    with crowded(policy, most), pytest.warns(RuntimeWarning, match="out of memory"):
        tight = rollout(
            policy, stacks(4), attempts(), PARAMS, seed="test", run="r", update=3, on_episode=told.append
        )
    assert sampled(tight) == sampled(whole)
    assert len(told) == len(whole)
    assert policy.play.slots is None and policy.play.tokens <= most


def test_rollout_says_when_one_episode_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to halve; other errors pass as they are."""
    policy = taught()
    assert policy.takes_packs  # found out once, by a pass
    monkeypatch.setattr(policy, "play", PlayLimits())
    with (
        crowded(policy, 0),
        pytest.warns(RuntimeWarning, match="begin again"),
        pytest.raises(RuntimeError, match="one episode does not fit into memory"),
    ):
        play(policy)

    def broken(*given: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(policy, "next_logits", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        play(policy)
