"""The three ways to decode do the same work, and differ in the cache alone."""

import sys

import pytest
import torch

from benchmarks.learner import decode_speed
from stepopsd_agent.rollout import KeyValueCache
from tests.helpers.models import tiny


def test_all_ways_draw_the_same_tokens_from_conversations_of_equal_size() -> None:
    """At temperature 0, over turns with prompts of different lengths; no token ends a response."""
    policy = tiny("float64")
    prompts = decode_speed.conversations(policy, rows=3, turns=4, seed=1)
    with decode_speed.endless(policy):
        own = decode_speed.decoded(policy, prompts, 5, KeyValueCache)
        assert [len(row) for row in own] == [20, 20, 20]
        assert own == decode_speed.decoded(policy, prompts, 5, decode_speed.Concatenated)
        assert own == decode_speed.generated(policy, prompts, 5)
    assert policy.stop_ids


def test_the_concatenated_cache_copies_what_it_holds_for_every_token() -> None:
    """So that the benchmark compares what it says it compares."""
    cache = decode_speed.Concatenated()
    held = [cache.update(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 0)[0] for _ in range(5)]
    assert len({keys.untyped_storage().data_ptr() for keys in held}) == 5


def test_equal_counts_tokens_before_the_first_difference_of_a_row() -> None:
    """After a difference the rows are of different texts."""
    assert decode_speed.equal([[1, 2, 3, 4], [5, 6]], [[1, 2, 9, 4], [5, 6]]) == pytest.approx(4 / 6)


def test_short_form_runs_and_tells_speeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make bench` calls it."""
    monkeypatch.setattr(sys, "argv", ["decode_speed", "--short", "--response", "2"])
    assert decode_speed.main() == 0
    assert "tokens/s" in capsys.readouterr().out
