"""Groups without variance are replaced by further tasks, up to a limit, and what they cost is counted."""

from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.rollout import episode_metrics, group_ids, mixed_groups, sampled_tokens
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.counters import Counters
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from stepopsd_wrappers import Episode
from tests.agent.hindsight.test_prompt import episode
from tests.agent.rollout.test_grouping import refused
from tests.helpers.runs import draw_until, run_config, taught

pytestmark = pytest.mark.samples
ROUNDS = 6
EASILY_EQUAL = {"tasks": 3, "group_size": 2}
"""Two attempts that each win every other time end alike in half of the groups."""


def trainer(seed: int = 0, **rollout: Any) -> Trainer:
    """A run that has not begun."""
    config = run_config(seed=seed, rollout={**EASILY_EQUAL, **rollout})
    return Trainer(config, credit.make("grpo"), taught())


def updates(one: Trainer, count: int) -> list[tuple[list[Episode], dict[str, float]]]:
    """Episodes and metrics of so many updates."""
    return [one.step()[:2] for _ in range(count)]


def test_filter_replaces_groups_without_variance() -> None:
    """Each round plays as many groups as are missing; those with both returns are learned from."""
    one = trainer(max_rounds=ROUNDS)

    def update(number: int) -> list[Episode]:
        one.update = number
        episodes = one.collect()
        chosen = one.chosen(episodes)
        assert chosen == mixed_groups(episodes) and len(group_ids(chosen)) <= 3
        for played in range(ROUNDS):  # each round numbers its groups from three times its own number on
            earlier = mixed_groups([e for e in episodes if e.group < 3 * played])
            groups = [group for group in group_ids(episodes) if group // 3 == played]
            assert len(groups) == 3 - len(group_ids(earlier))
        return episodes

    def filled_late(episodes: list[Episode]) -> bool:
        return len(group_ids(mixed_groups(episodes))) == 3 < len(group_ids(episodes))

    draw_until(update, filled_late)


def test_filter_replacements_are_attempts_of_their_own() -> None:
    """Other group numbers and seeds than before, whole groups, in one order."""
    one = trainer(max_rounds=ROUNDS)

    def played(update: int) -> dict[int, list[Episode]]:
        one.update = update
        groups: dict[int, list[Episode]] = {}
        for record in one.collect():
            groups.setdefault(record.group, []).append(record)
        assert list(groups) == sorted(groups)
        assert all([e.member for e in group] == [0, 1] for group in groups.values())
        assert len({group[0].seed for group in groups.values()}) == len(groups)
        return groups

    draw_until(played, lambda groups: max(groups) >= 6)  # three rounds


def test_filter_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no group ever differs, so many rounds are played, nothing is learned, and all was wasted."""
    monkeypatch.setattr("stepopsd_agent.run.trainer.mixed_groups", lambda episodes, shaping: [])
    one = trainer(max_rounds=3)
    episodes, metrics, _ = one.step()
    assert group_ids(episodes) == list(range(9))
    assert "update/loss" not in metrics
    assert one.counters.wasted == one.counters.generated == sampled_tokens(episodes) > 0
    assert one.update == 1


@pytest.mark.parametrize(("settings", "kept"), [({}, 0), ({"invalid_penalty_on": "episode"}, 2)])
def test_filter_knows_the_penalty_that_the_update_uses(settings: dict[str, Any], kept: int) -> None:
    """A group that differs in nothing but refused steps is learned from, as the flat alarm counts it."""
    lost = [refused(episode(0, member, False, ("look", "go")), *([1] * member)) for member in (0, 1)]
    penalty = {"invalid_penalty": 0.1, **settings} if settings else {}
    one = trainer(max_rounds=2, **penalty)
    assert len(one.chosen(lost)) == kept
    shaping = one.config.rollout
    assert len(mixed_groups(lost, shaping)) == kept
    assert episode_metrics(lost, (), shaping)["train/mixed_groups"] == kept / 2
    one.close()


def test_filter_counts_the_tokens_of_groups_it_leaves_out() -> None:
    """Of exactly those, beside all that were generated; without filtering none are wasted."""
    one, plain = trainer(max_rounds=ROUNDS), trainer()
    played, mixed = list[Episode](), list[Episode]()

    def another(number: int) -> Counters:
        ((episodes, _),) = updates(one, 1)
        played.extend(episodes)
        mixed.extend(mixed_groups(episodes))
        assert one.counters.generated == sampled_tokens(played)
        assert one.counters.wasted == sampled_tokens(played) - sampled_tokens(mixed)
        return one.counters

    draw_until(another, lambda counters: one.update > 2 and counters.wasted > 0)
    updates(plain, 3)
    assert plain.counters.wasted == 0


def test_filter_is_deterministic_and_resumes() -> None:
    """Two runs agree, and so does one restored after two updates, without a trace of earlier rounds."""

    def begun(seed: int) -> Trainer:
        return trainer(seed, max_rounds=ROUNDS)

    def more_than_one_round(run: Trainer) -> bool:
        return len(group_ids(run.collect())) > 3

    whole = draw_until(begun, more_than_one_round)
    other, restored = begun(whole.config.seed), begun(whole.config.seed)
    expected = updates(whole, 4)
    assert updates(other, 2) == expected[:2]
    restore_trainer(restored, trainer_tensors(other), trainer_state(other))
    assert updates(restored, 2) == expected[2:]
    assert restored.counters == whole.counters
