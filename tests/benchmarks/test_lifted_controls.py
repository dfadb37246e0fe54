"""Controls of the lifted PathGain: the plans by hand, other keys and terms, and the table."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import gymnasium as gym
import numpy as np
import pytest
import torch

from benchmarks.credit import hand_plans, lifted_controls as controls, lifted_rows, lifted_terms as terms
from benchmarks.report.lifted import lifted_controls as page
from stepopsd_agent import credit
from stepopsd_agent.accuracy import step_credit
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.learner import TaskHistory, fill
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.run.scored_records import with_some_tokens
from stepopsd_agent.tasks import Lifted
from stepopsd_agent.tasks.agents import Agent, ExpertAgent, RandomAgent
from stepopsd_wrappers import Episode, RecordEpisode
from tests.helpers.runs import run_config

CLEAN, LOOK = "pick_clean_then_place_in_recep", hand_plans.LOOK
HELD, SEEN = "holding: object 1", "object in sight: yes"


def episodes_of(agent: Agent, numbers: Sequence[int], kinds: Sequence[str] = (CLEAN,)) -> list[Episode]:
    """Its attempts at tasks in generated houses, one a group; with some tokens."""
    game = gym.make("stepopsd/ALFWorld-v0", tier="small", task_types=list(kinds), oracle=True)
    ids = [game.unwrapped.task_ids[number] for number in numbers]  # type: ignore[attr-defined]
    played = play_agent(agent, RecordEpisode(game), ids, seed=0)
    return list(with_some_tokens(played, run_config(), None))


def goal_of(episode: Episode) -> str:
    """The goal that an episode was told."""
    return str(episode.steps[0].info["goal"]).strip().removesuffix(".")


def grouped(episodes: Sequence[Episode], groups: Sequence[int]) -> list[Episode]:
    """The episodes with these numbers of groups, each another member."""
    pairs = zip(episodes, groups, strict=True)
    return [replace(one, group=group, member=member) for member, (one, group) in enumerate(pairs)]


@lru_cache(maxsize=1)
def material() -> lifted_rows.LiftedRecording:
    """Two batches of two groups; in each group the expert wins a task and a random agent loses it."""
    parts = []
    for tasks in ((0, 1), (2, 3)):
        won, lost = (episodes_of(agent, tasks) for agent in (ExpertAgent(), RandomAgent()))
        parts.append(grouped([won[0], lost[0], won[1], lost[1]], [tasks[0], tasks[0], tasks[1], tasks[1]]))
    needs, batches = credit.make("path_gain", lifted=True).needs, list[Batch]()
    known = terms.learned(parts, [terms.told_of(part) for part in parts])
    for part, records in zip(parts, known, strict=True):
        filled = fill(collate(part), part, needs, None)
        batches.append(terms.with_distances(filled, records))
    return lifted_rows.LiftedRecording(parts, batches)


def test_learned_distances_are_those_of_the_product() -> None:
    """With a past as `TaskHistory` keeps it; without one a batch that nobody won knows no way."""
    won, lost = episodes_of(ExpertAgent(), range(4)), episodes_of(RandomAgent(), [5])
    needs = {"lifted_distance", "next_lifted_distance"}
    batch, history = collate(lost), TaskHistory(needs)
    history.add(collate(won), won)
    filled = fill(batch, lost, needs, None, history=history).steps
    parts, told = [won, lost], [terms.told_of(won), terms.told_of(lost)]
    known = terms.with_distances(batch, terms.learned(parts, told)[1]).steps
    alone = terms.with_distances(batch, terms.learned(parts, told, past=False)[1]).steps
    for name in needs:
        assert getattr(known, name).tolist() == getattr(filled, name).tolist()
        assert set(getattr(alone, name).tolist()) == {-1} != set(getattr(known, name).tolist())


def test_other_orders_of_batches_have_other_pasts() -> None:
    """The batch that nobody won, played first, knows no way; numbers stay with their batches."""
    won, lost = episodes_of(ExpertAgent(), range(4)), episodes_of(RandomAgent(), [5])
    parts, told = [won, lost], [terms.told_of(won), terms.told_of(lost)]
    turned = terms.learned(parts, told, order=[1, 0])
    assert {step for one in turned[1] for step in one} == {-1}
    assert turned[0] == terms.learned(parts, told)[0]


def test_terms_are_read_from_texts_alone() -> None:
    """Without a word of the simulator in the records nothing is told otherwise; other texts would be."""
    made = material()
    assert terms.told_otherwise(made.parts, made.told) == 0
    episode = made.parts[0][0]
    bare = terms.only_texts(episode)
    assert all(set(step.info) == {"goal", "step"} for step in bare.steps) and not bare.task_id
    steps = [
        replace(step, observation="Nothing happens.") if step.action.startswith("clean") else step
        for step in episode.steps
    ]
    other = replace(episode, steps=tuple(steps))
    assert terms.told_otherwise([[other]], [[made.told[0][0]]]) == 1


def test_worlds_as_keys_are_equal_in_other_houses() -> None:
    """Object in hand in one house, object in hand in another: one key, which texts do not give."""
    made = material()
    batch, told, keyed = made.batches[0], made.told[0], made.keyed[0]
    places = {
        (episode, index): step
        for step, (episode, index) in enumerate(
            zip(batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist(), strict=True)
        )
    }
    world = frozenset({HELD})
    one, other = (
        next(places[episode, index + 1] for index, now in enumerate(told[episode].worlds) if now == world)
        for episode in (0, 2)
    )
    keys, texts = keyed.steps.text_key, batch.steps.text_key
    assert keys is not None and texts is not None
    assert keys[one] == keys[other] and texts[one] != texts[other]
    assert torch.equal(keyed.steps.next_text_key[:-1][~batch.last_step[:-1]], keys[1:][~batch.last_step[:-1]])  # type: ignore[index]


def test_tasks_of_a_form_are_one_group() -> None:
    """And tasks of different forms are not, whatever their group was."""
    made = material()
    told = [replace(one, form=LOOK) if number > 1 else one for number, one in enumerate(made.told[0])]
    groups = terms.by_form(made.batches[0], told).episodes.group_of_episode
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_joined_batches_give_each_step_its_credit() -> None:
    """Groups of other numbers do not meet; with one number for all, steps of both batches are compared."""
    made = material()
    first, second = made.batches
    other = replace(
        second, episodes=replace(second.episodes, group_of_episode=second.episodes.group_of_episode + 2)
    )
    together = lifted_rows.credits([terms.joined([first, other])], "graph_gpo", key="text")[0]
    apart = np.concatenate(lifted_rows.credits([first, second], "graph_gpo", key="text"))
    np.testing.assert_allclose(together, apart, atol=1e-6)
    on = {"key": "text"}
    past = lifted_rows.with_past(made, "graph_gpo", **on)
    alone = lifted_rows.credits(made.formed, "graph_gpo", **on)
    np.testing.assert_allclose(past[0], alone[0], atol=1e-6)
    assert np.abs(past[1] - alone[1]).max() > 0.01


def test_altered_terms_differ_in_what_they_name_alone() -> None:
    """Nothing in sight; the tool; and the goals of other groups."""
    episode = episodes_of(ExpertAgent(), [0])[0]
    (told,) = terms.told_of([episode])
    blind, tooled = terms.without_sight(told), terms.with_tool(told, episode)
    washing = next(number for number, step in enumerate(episode.steps) if step.action.startswith("clean "))
    assert any(SEEN in world for world in told.worlds) and not any(SEEN in world for world in blind.worlds)
    assert hand_plans.TOOL in tooled.worlds[washing] and hand_plans.TOOL not in tooled.worlds[-1]
    assert [world - {hand_plans.TOOL} for world in tooled.worlds] == list(told.worlds)
    played = episodes_of(ExpertAgent(), range(4))
    episodes = grouped([*played, *played], [0, 1, 2, 3, 0, 1, 2, 3])
    goals = [one.steps[0].info["goal"] for one in episodes]
    swapped = [one.steps[0].info["goal"] for one in terms.with_other_goals(episodes, seed=0)]
    assert swapped[:4] == swapped[4:] and sorted(swapped) == sorted(goals) and swapped != goals


def test_goals_of_other_groups_tell_nothing_of_the_own_task() -> None:
    """None is of the form of the group's own or names a thing of it; each goal goes to one group."""
    kinds = (CLEAN, LOOK, hand_plans.TWO, "pick_heat_then_place_in_recep")
    episodes = grouped(episodes_of(RandomAgent(), range(24), kinds), range(24))
    for seed in range(3):
        swapped = terms.with_other_goals(episodes, seed)
        assert sorted(map(goal_of, swapped)) == sorted(map(goal_of, episodes))
        for own, other, one, two in zip(
            episodes, swapped, terms.told_of(episodes), terms.told_of(swapped), strict=True
        ):
            things = {word for word in goal_of(own).split() if f" {word} 1" in own.steps[0].observation}
            assert one.form != two.form and not things & set(goal_of(other).split())


def test_published_methods_can_have_a_cost_of_idle_steps_too() -> None:
    """A tenth of a standard deviation, for steps that leave the world as it is and no others."""
    made, past = material(), "graph_gpo, lifted keys, forms, past"
    rows = lifted_rows.rows(made)
    for plain, costly, batch in zip(rows[past](), rows[f"{past}, idle cost"](), made.batches, strict=True):
        before, after = batch.steps.text_key, batch.steps.next_text_key
        assert before is not None and after is not None
        idle = (before == after).numpy()
        assert 0 < idle.sum() < len(idle)
        np.testing.assert_allclose(plain - costly, 0.1 * plain.std() * idle)
    free = rows["path_gain, lifted, no idle cost"]()
    assert any((one != other).any() for one, other in zip(free, rows[lifted_rows.REFERENCE](), strict=True))
    assert not [name for name in rows if name.startswith("path_gain") and name.endswith(", idle cost")]


def test_a_plan_that_knows_the_truth_ranks_every_step_right() -> None:
    """In all measures, through the same columns as the others; shuffled labels would not give it."""
    made = material()
    found = controls.result(made)
    for measure in controls.MEASURES:
        assert found["methods"]["true distance, alone"][measure]["value"] == 1.0
        assert found["methods"]["graph_gpo, text keys"][measure]["value"] < 1.0
    assert (found["groups"], found["episodes"], found["mixed"]) == (4, 8, 4)
    for name, figures in found["differences"].items():
        for measure, one in figures.items():
            pair = [found["methods"][of][measure] for of in (name, lifted_rows.REFERENCE)]
            assert one["value"] == pytest.approx(pair[0]["value"] - pair[1]["value"], abs=1e-12)
            assert one["n"] == pair[0]["n"]


def test_the_groups_own_graph_is_left_out_alone() -> None:
    """Only the given distances tell steps apart; one that never changes tells nothing."""
    made = material()
    flat = [[[3] * len(one.steps) for one in part] for part in made.parts]
    alone = lifted_rows.path_gain(made, flat, alone=True)
    method = credit.make("path_gain", idle_cost=0.0)
    for batch, steps in zip(made.batches, alone, strict=True):
        keys, after = batch.steps.text_key, batch.steps.next_text_key
        assert keys is not None and after is not None
        idle = np.asarray((keys == after).tolist())
        for episode in range(batch.num_episodes):
            mine = np.asarray((batch.steps.episode_of_step == episode).tolist())
            assert len(np.unique(np.round(steps[mine & ~idle], 6))) <= 1
        assert len(np.unique(np.round(step_credit(batch, method(batch)), 6))) > 3


def test_recordings_of_other_environments_are_refused() -> None:
    """By name, with what to give instead."""
    episode = episodes_of(ExpertAgent(), [0])[0]
    first = replace(episode.steps[0], info={**episode.steps[0].info, "goal": "dance"})
    with pytest.raises(ValueError, match="cannot be told in the terms of a household task; give recordings"):
        terms.told_of([replace(episode, steps=(first, *episode.steps[1:]))])
    assert isinstance(terms.told_of([episode])[0], Lifted)


def test_trials_of_an_official_task_are_one_task() -> None:
    """The bootstrap draws them together; generated houses are a task each."""
    episode = episodes_of(ExpertAgent(), [0])[0]
    names = [
        "valid/clean-Mug-7/trial_T1",
        "valid/clean-Mug-7/trial_T2",
        "valid/clean-Mug-8/trial_T1",
        "houses/4",
    ]
    played = [replace(episode, task_id=name, group=group) for group, name in enumerate(names)]
    assert controls.tasks(played) == [0, 0, 1, 2]


def test_table_has_a_row_for_each_control_and_what_is_level_in_bold() -> None:
    """A figure is bold if its difference from the reference may be 0; some rows are left out."""
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    rows = {lifted_rows.REFERENCE: 0.9, "plan by hand": 0.95, "points": 0.5, "x, told the tool": 0.4}
    tables = {
        name: {measure: {**figure, "value": value} for measure in controls.MEASURES}
        for name, value in rows.items()
    }
    less = {measure: {"value": -0.4, "low": -0.5, "high": -0.3, "n": 3} for measure in controls.MEASURES}
    equal = {measure: {"value": 0.05, "low": -0.01, "high": 0.1, "n": 3} for measure in controls.MEASURES}
    stage = {
        "success": 0.5, "mixed": 1, "groups": 2, "episodes": 4, "told_otherwise": 0, "tasks": 2,
        "controls": {}, "methods": tables,
        "differences": {"plan by hand": equal, "points": less, "x, told the tool": less},
    }  # fmt: skip
    hardware = {"cpu": "c", "cores": 2, "gpu": "none"}
    result = {
        "sets": {"official": {"start": stage}}, "part": "test", "command": "python -m x", "commit": "a" * 40,
        "hardware": hardware, "python": "3", "packages": {"torch": "2", "transformers": "5"},
    }  # fmt: skip
    text = "\n".join(page(result))
    assert "| plan by hand | **.95** ±.10 |" in text and "| points | .50 ±.10 |" in text
    assert text.index("| plan by hand |") < text.index(f"| `{lifted_rows.REFERENCE}` | .90 ±.10")
    assert "the tool" not in text
