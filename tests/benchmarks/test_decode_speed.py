"""The three ways to decode do the same work, and differ in the cache alone."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.learner import decode_before, decode_speed, decode_speed_episodes
from benchmarks.runs.demo_episodes import demo_config, demo_policy
from tests.helpers.models import tiny


@pytest.mark.parametrize("varied", [False, True])
def test_all_ways_draw_the_same_tokens(varied: bool) -> None:
    """At temperature 0, over turns with prompts of different lengths; no token ends a response."""
    lengths = decode_speed.Lengths(5, varied)
    policy = tiny("float64")
    prompts = decode_speed.conversations(policy, rows=3, turns=4, seed=1)
    with decode_speed.endless(policy):
        own = decode_speed.decoded(policy, prompts, lengths, padded=False)
        sizes = [decode_speed.sizes_of(ids, lengths) for ids in own]
        assert [(len(one), sum(one)) for one in sizes] == [(4, len(ids)) for ids in own]
        assert {n for one in sizes for n in one} == ({3, 4, 5} if varied else {5})
        assert own == decode_speed.decoded(policy, prompts, lengths, padded=True)
        assert own == decode_speed.generated(policy, prompts, lengths)
    assert policy.stop_ids


def test_the_concatenated_cache_copies_what_it_holds_for_every_token() -> None:
    """So that the benchmark compares what it says it compares."""
    cache = decode_speed_episodes.Concatenated()
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


@pytest.mark.samples
def test_two_versions_play_the_same_episodes(tmp_path: Path) -> None:
    """This version beside itself."""
    demo_policy(demo_config(2), 3).save(tmp_path)
    measured = decode_before.measured(decode_before.HERE, str(tmp_path), rows=3, steps=2, rounds=1)
    assert measured["equal"] and measured["times"]["decoder"] > 0
    assert measured["rollout_tokens_per_s"]["now"] < measured["tokens_per_s"]["now"]


def test_a_folder_without_a_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is played."""
    monkeypatch.setattr(sys, "argv", ["decode_before", "--before", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        decode_before.main()
    assert "git worktree add" in capsys.readouterr().err
