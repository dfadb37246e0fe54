"""Distances to a goal in the terms of a task's form, worked by hand."""

import json
from collections.abc import Sequence

import gymnasium as gym
import torch

from stepopsd_agent.batch import collate
from stepopsd_agent.learner import TaskHistory, fill
from stepopsd_agent.learner.lifted_plans import Attempt, LiftedPlans
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.run.scored_records import with_some_tokens
from stepopsd_agent.tasks import Lifted
from stepopsd_agent.tasks.agents import Agent, ExpertAgent, RandomAgent
from stepopsd_wrappers import Episode, RecordEpisode
from tests.agent.batch.test_batch import two_steps
from tests.helpers.runs import run_config

NEEDS = {"lifted_distance", "next_lifted_distance"}


def told(worlds: str, won: bool = False, form: str = "fetch") -> Attempt:
    """An attempt whose worlds are written as letters, one for each fact: "- a ab" begins without any."""
    states = [frozenset(f"{fact}: yes" for fact in world.strip("-")) for world in worlds.split()]
    return Lifted(form, states), won


def test_an_attempt_at_an_unsolved_task_is_judged_by_the_success_at_another() -> None:
    """The winner goes -, a, ab, abc; d has all that - has, so it counts as no worse."""
    plans = LiftedPlans()
    plans.add([told("- a ab abc", won=True)])
    assert plans.distances([told("- d a a")]) == [[3, 3, 2, 2]]


def test_what_is_known_holds_for_one_form_alone() -> None:
    """The same worlds in a task of another form say nothing; nor does a winner's form that is told later."""
    plans = LiftedPlans()
    plans.add([told("- a", won=True)])
    assert plans.distances([told("- a", form="cool"), told("- b")]) == [[-1, -1], [1, 1]]


def test_attempts_of_the_same_batch_help_each_other() -> None:
    """But are not kept: the next batch knows what was added, and no more."""
    plans = LiftedPlans()
    assert plans.distances([told("- a", won=True), told("- b")]) == [[1, 0], [1, 1]]
    assert plans.distances([told("- b")]) == [[-1, -1]]


def test_a_step_leads_on_only_from_where_it_was_taken() -> None:
    """The winner got a, but not from b: ab was visited, too, but b may have nothing to get."""
    plans = LiftedPlans()
    plans.add([told("- a ab abc", won=True)])
    assert plans.distances([told("- b")]) == [[3, 3]]


def test_a_world_that_most_attempts_pass_without_success_is_no_goal() -> None:
    """One game is won at ab. Two others are not won there, so it is a step from their goal, not the goal."""
    plans = LiftedPlans()
    plans.add([told("- a ab", won=True)])
    others = [told("- a ab abc", won=True), told("- a ab abc", won=True)]
    assert plans.distances(others) == [[3, 2, 1, 0], [3, 2, 1, 0]]


def test_attempts_that_cannot_be_told_have_no_distances() -> None:
    """An empty list each, whatever stands beside them."""
    assert LiftedPlans().distances([(None, True), told("- a", won=True)]) == [[], [1, 0]]


def test_plans_go_through_a_checkpoint() -> None:
    """As JSON, and to the same order, so that a resumed run writes the same checkpoint again."""
    plans, others = LiftedPlans(), LiftedPlans()
    plans.add(
        [
            told("- a ab abc", won=True),
            told("- d a"),
            told("- z", form="cool"),
        ]
    )
    others.restore(json.loads(json.dumps(plans.state())))
    asked = [told("- d a a")]
    assert others.distances(asked) == plans.distances(asked) and others.state() == plans.state()


def episodes_of(agent: Agent, numbers: Sequence[int]) -> list[Episode]:
    """Its attempts at tasks of one kind in generated houses."""
    game = gym.make("stepopsd/ALFWorld-v0", tier="small", task_types=["pick_clean_then_place_in_recep"])
    env = RecordEpisode(game)
    ids = [game.unwrapped.task_ids[number] for number in numbers]  # type: ignore[attr-defined]
    return play_agent(agent, env, ids, seed=0)


def test_columns_of_household_games() -> None:
    """Without a history a lost group knows nothing; once another house was solved, its way is known."""
    config = run_config()
    won = with_some_tokens(episodes_of(ExpertAgent(), range(8)), config, None)
    lost = with_some_tokens(episodes_of(RandomAgent(), [8]), config, None)
    assert all(episode.success for episode in won) and not lost[0].success
    alone, history = fill(collate(lost), lost, NEEDS, None).steps, TaskHistory(NEEDS)
    assert alone.lifted_distance is not None and (alone.lifted_distance < 0).all()
    history.add(collate(won), won)
    filled = fill(collate(lost), lost, NEEDS, None, history=history).steps
    assert filled.lifted_distance is not None and filled.next_lifted_distance is not None
    assert filled.lifted_distance[0] > 3 and filled.next_lifted_distance[-1] > 0
    inner = filled.lifted_distance[1:] == filled.next_lifted_distance[:-1]
    assert inner.all()


def test_an_environment_that_tells_no_terms_has_no_distances() -> None:
    """-1 everywhere: PathGain is then as without."""
    records = [two_steps()]
    filled = fill(collate(records), records, NEEDS, None).steps
    assert torch.equal(filled.lifted_distance, torch.full_like(filled.episode_of_step, -1))  # type: ignore[arg-type]
