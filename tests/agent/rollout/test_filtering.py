"""Groups without variance are replaced by further tasks, up to a limit, and what they cost is counted."""

from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout.groups import group_ids, mixed_groups, sampled_tokens
from stepopsd_agent.run.trainer import Trainer
from stepopsd_wrappers import Episode
from tests.helpers.runs import run_config, taught

ROUNDS = 6
EASILY_EQUAL = {"tasks": 3, "group_size": 2}
"""Two attempts that each win every other time end alike in half of the groups."""


def trainer(**rollout: Any) -> Trainer:
    """A run that has not begun."""
    policy = taught()
    config = run_config(rollout={**EASILY_EQUAL, **rollout})
    return Trainer(config, credit.make("grpo"), policy, make_format(policy, "off", "", False))


def updates(one: Trainer, count: int) -> list[tuple[list[Episode], dict[str, float]]]:
    """Episodes and metrics of so many updates."""
    return [one.step()[:2] for _ in range(count)]


def test_filter_replaces_groups_without_variance() -> None:
    """Every update learns from as many groups as asked for, each with both returns; none is left over."""
    one = trainer(max_rounds=ROUNDS)
    replaced = 0
    for _ in range(4):
        episodes = one.collect()
        chosen = one.chosen(episodes)
        assert len(group_ids(chosen)) == 3 and chosen == mixed_groups(episodes)
        replaced += len(group_ids(episodes)) - 3
        one.update += 1
    assert replaced > 0


def test_filter_replacements_are_attempts_of_their_own() -> None:
    """Other group numbers and seeds than before, whole groups, in one order."""
    one = trainer(max_rounds=ROUNDS)
    for _ in range(4):
        groups: dict[int, list[Episode]] = {}
        for episode in one.collect():
            groups.setdefault(episode.group, []).append(episode)
        assert list(groups) == sorted(groups)
        assert all([e.member for e in group] == [0, 1] for group in groups.values())
        assert len({group[0].seed for group in groups.values()}) == len(groups)
        one.update += 1


def test_filter_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no group ever differs, so many rounds are played, nothing is learned, and all was wasted."""
    monkeypatch.setattr("stepopsd_agent.run.trainer.mixed_groups", lambda episodes: [])
    one = trainer(max_rounds=3)
    episodes, metrics, _ = one.step()
    assert group_ids(episodes) == list(range(9))
    assert "update/loss" not in metrics
    assert one.counters.wasted == one.counters.generated == sampled_tokens(episodes) > 0
    assert one.update == 1


def test_filter_counts_the_tokens_of_groups_it_leaves_out() -> None:
    """Of exactly those, beside all that were generated; without filtering none are wasted."""
    one, plain = trainer(max_rounds=ROUNDS), trainer()
    played = [episode for episodes, _ in updates(one, 3) for episode in episodes]
    mixed = [e for number in range(3) for e in mixed_groups([p for p in played if p.update == number])]
    assert one.counters.generated == sampled_tokens(played)
    assert one.counters.wasted == sampled_tokens(played) - sampled_tokens(mixed) > 0
    updates(plain, 3)
    assert plain.counters.wasted == 0


def test_filter_is_deterministic_and_resumes() -> None:
    """Two runs agree, and so does one restored after two updates, without a trace of earlier rounds."""
    whole, other = trainer(max_rounds=ROUNDS), trainer(max_rounds=ROUNDS)
    expected = updates(whole, 4)
    assert updates(other, 2) == expected[:2]
    restored = trainer(max_rounds=ROUNDS)
    restored.restore(other.tensors(), other.state())
    assert updates(restored, 2) == expected[2:]
    assert restored.counters == whole.counters
