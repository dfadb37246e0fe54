"""Columns that take a model or an environment to fill."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from stepopsd_agent.batch import AuditError, Batch, collate
from stepopsd_agent.config import HindsightConfig
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.hindsight import batch_logprobs, hindsight_blocks
from stepopsd_agent.learner import (
    Cost,
    Critic,
    FreshAttempts,
    check_recorded,
    fill,
    monte_carlo_values,
    recorded_columns,
)
from stepopsd_agent.learner.gold_answers import OPEN, gold_answer_logprobs
from stepopsd_agent.learner.monte_carlo import MonteCarlo
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import Attempt, rollout
from stepopsd_agent.tasks import World, make_stack, task_ids, worlds_of
from stepopsd_wrappers import Episode
from tests.agent.learner.test_learner import batch_for
from tests.helpers.builders import with_steps_of
from tests.helpers.models import tiny
from tests.helpers.runs import PARAMS, draw_until, run_config, taught


def fresh_attempts(count: int, penalty: float = 0.0) -> FreshAttempts:
    """So many per state, sampled as in `played`."""
    return FreshAttempts(count, penalty, PARAMS, seed="columns/branches")


def played(policy: Policy, members: int = 3, seed: str = "columns", **env: Any) -> list[Episode]:
    """Attempts at the one game."""
    config = run_config(env=env)
    envs = [make_stack(config.env) for _ in range(members)]
    attempts = [Attempt(task_ids(envs[0])[0], seed=0, member=member) for member in range(members)]
    return rollout(policy, envs, attempts, PARAMS, seed=seed)


def test_gold_answers_are_scored_on_the_history_before_each_step() -> None:
    """Equal to one pass per step; of two spellings the likelier counts."""
    policy = tiny()
    batch = batch_for(policy)
    answers = [["a mug"], ["plate 1", "a fridge"], ["drawer"], ["cabinet 3"]]
    got = gold_answer_logprobs(policy, batch, answers, Scorer(policy, tokens_per_pass=300))
    assert got.shape == (batch.num_steps,) and (got < 0).all()
    for step in range(batch.num_steps):
        row, column = (batch.tokens.step_of_token == step).nonzero()[0].tolist()
        context = batch.tokens.input_ids[row, :column].tolist() + policy.encode([OPEN])[0]
        means = []
        for answer in answers[int(batch.steps.episode_of_step[step])]:
            target = policy.encode([answer])[0]
            ids = torch.tensor([context + target])
            select = torch.zeros_like(ids, dtype=torch.bool)
            select[0, len(context) :] = True
            with torch.inference_mode():
                means.append(float(policy.token_logprobs(ids, select)[select].mean()))
        assert float(got[step]) == pytest.approx(max(means), abs=1e-5)


def begun(attempt: Episode) -> tuple[int, tuple[int, ...]]:
    """The first step that the policy chose in a fresh attempt, and the ids it chose it on."""
    chosen = ((index, step.tokens) for index, step in enumerate(attempt.steps))
    return next((index, tokens.prompt_ids) for index, tokens in chosen if tokens is not None)


@pytest.mark.samples
def test_monte_carlo_values_are_means_of_fresh_attempts() -> None:
    """Steps chosen on the same ids share their attempts; all begin where the step was chosen, repeatably."""
    policy = taught()
    envs = [make_stack(run_config().env) for _ in range(8)]

    def estimate(number: int) -> tuple[int, list[Episode], Batch, MonteCarlo]:
        seed = f"columns/{number}"
        episodes = played(policy, seed=seed)
        batch = collate(episodes, pad_id=policy.pad_id)
        fresh = replace(fresh_attempts(2), seed=f"{seed}/branches")
        return number, episodes, batch, monte_carlo_values(policy, envs, episodes, batch, fresh)

    drawn = draw_until(estimate, lambda drawn: len(set(drawn[3].values.tolist())) > 1)
    number, episodes, batch, (values, attempts, repeated) = drawn
    assert torch.equal(values, estimate(number)[3].values)
    pasts, commands = set[Any](), 0
    for episode in episodes:
        given = [step.tokens.sampled_ids for step in episode.steps[1:] if step.tokens]
        before = [tuple(given[:count]) for count in range(len(given))]
        commands += max((len(past) for past in before if past not in pasts), default=0)
        pasts.update(before)
    assert repeated == commands  # once each, up to the last step that no earlier episode came to
    assert len(attempts) == 2 * len(pasts) < 2 * batch.num_steps  # the first steps have nothing before them
    for step, value in enumerate(values.tolist()):
        origin = episodes[int(batch.steps.episode_of_step[step])]
        index = int(batch.steps.index_in_episode[step])
        row, column = (batch.tokens.step_of_token == step).nonzero()[0].tolist()
        ids = tuple(batch.tokens.input_ids[row, :column].tolist())
        mine = [attempt for attempt in attempts if begun(attempt) == (index, ids)]
        past = [[one.action for one in attempt.steps[1:index]] for attempt in mine]
        assert past == [[one.action for one in origin.steps[1:index]]] * 2
        assert value == sum(attempt.episode_return for attempt in mine) / 2


@pytest.mark.samples
def test_monte_carlo_values_take_the_penalty_off_and_notice_another_state() -> None:
    """A penalty can only lower them; a record of another world is refused."""
    policy = taught()
    envs = [make_stack(run_config().env) for _ in range(4)]
    episodes = played(policy, members=1)
    batch = collate(episodes, pad_id=policy.pad_id)
    plain = monte_carlo_values(policy, envs, episodes, batch, fresh_attempts(1))
    fined = monte_carlo_values(policy, envs, episodes, batch, fresh_attempts(1, penalty=0.5))
    assert (fined.values <= plain.values).all()
    first = episodes[0].steps[0]
    info = {**first.info, "step": {**first.info["step"], "state": "0" * 16}}
    forged = [replace(episodes[0], steps=(replace(first, info=info), *episodes[0].steps[1:]))]
    with pytest.raises(RuntimeError, match="led to another state than recorded"):
        monte_carlo_values(policy, envs, forged, batch, fresh_attempts(1))


@pytest.mark.samples
def test_recorded_columns_that_are_missing_are_named_with_what_to_do() -> None:
    """Distances come with env.oracle alone."""
    policy = taught()
    known = collate(played(policy, members=1, oracle=True), pad_id=0)
    check_recorded(known, frozenset({"optimal_distance", "last_distance"}))
    assert known.episodes.last_distance is not None and known.steps.optimal_distance is not None
    unknown = collate(played(policy, members=1), pad_id=0)
    with pytest.raises(MissingColumnError, match=r"needs optimal_distance, .*: set env.oracle to true"):
        check_recorded(unknown, frozenset({"optimal_distance", "last_distance"}))
    with pytest.raises(MissingColumnError, match=r"needs last_distance, .*: set env.oracle to true"):
        check_recorded(unknown, frozenset({"last_distance"}))
    with pytest.raises(MissingColumnError, match=r"needs first_gold_seen, .*: choose an .* that knows gold"):
        check_recorded(unknown, frozenset({"first_gold_seen"}))


@pytest.mark.samples
def test_an_environment_without_gold_answers_is_refused() -> None:
    """It says where they are to be had."""
    policy = taught()
    env = make_stack(run_config().env)
    batch = collate(episodes := played(policy, members=1), pad_id=0)
    with pytest.raises(MissingColumnError, match=r"needs gold answers, which .* does not have: train it on"):
        fill(batch, episodes, {"gold_answer_logprob"}, policy, envs=[env])
    gold = HindsightConfig(mode="gold")
    with pytest.raises(MissingColumnError, match=r"hindsight\.mode is gold, but .* tell no expert's plan"):
        fill(batch, episodes, {"teacher_logprobs"}, policy, envs=[env], hindsight=gold)
    with pytest.raises(MissingColumnError, match=r"which the environment tells: pass envs="):
        fill(batch, episodes, {"teacher_logprobs"}, policy, hindsight=gold)


@pytest.mark.samples
def test_fill_computes_what_is_needed_and_nothing_else() -> None:
    """With the weights that are given for teacher and reference; the policy has its own back afterwards."""
    policy, other = taught(), taught()
    other.load_state({name: 1.1 * weight for name, weight in other.state().items()})
    episodes = played(policy)
    batch, before, scorer = collate(episodes, policy.pad_id), policy.state(), Scorer(other)
    needs = {"student_logprobs", "teacher_logprobs", "ref_logprobs"}
    filled = fill(batch, episodes, needs, policy, teacher=other.state(), reference=other.state())
    blocks = hindsight_blocks(policy, HindsightConfig(), episodes)
    assert filled.tokens.student_logprobs is not None and filled.tokens.teacher_logprobs is not None
    assert torch.equal(filled.tokens.student_logprobs, batch_logprobs(Scorer(policy), batch))
    assert filled.tokens.ref_logprobs is not None
    assert torch.equal(filled.tokens.teacher_logprobs, batch_logprobs(scorer, batch, blocks))
    assert torch.equal(filled.tokens.ref_logprobs, batch_logprobs(scorer, batch))
    assert filled.teacher_topk is None and filled.episodes.informed is None and filled.steps.value is None
    assert all(torch.equal(before[name], weight) for name, weight in policy.state().items())
    assert fill(batch, episodes, set(), policy) is batch


@pytest.mark.samples
def test_fill_takes_the_policy_itself_where_no_weights_are_given() -> None:
    """A live teacher; what was recorded in sampling is scored anew only where that is asked for."""
    policy = taught()
    episodes = played(policy)
    batch = collate(episodes, policy.pad_id)
    forged = batch.with_columns(old_logprobs=2 * batch.tokens.old_logprobs)
    scored = batch_logprobs(Scorer(policy), batch)
    kept = fill(forged, episodes, {"ref_logprobs"}, policy, reference=policy.origin())
    anew = fill(forged, episodes, {"student_logprobs"}, policy, rescore_old=True)
    assert kept.tokens.old_logprobs is forged.tokens.old_logprobs
    assert kept.tokens.ref_logprobs is not None and torch.equal(kept.tokens.ref_logprobs, scored)
    assert torch.equal(anew.tokens.old_logprobs, scored)
    assert anew.tokens.student_logprobs is anew.tokens.old_logprobs


@pytest.mark.samples
def test_keys_of_what_the_texts_tell_are_filled_from_the_records() -> None:
    """Equal exactly where the worlds are, before and after each step."""
    policy = tiny()
    episodes = played(policy)
    names = {"text_key", "next_text_key"}
    batch = fill(collate(episodes), episodes, names, policy)
    worlds = [worlds_of(episode) for episode in episodes]
    pairs = [(before, after) for told in worlds for before, after in pairwise(told)]
    columns = [getattr(batch.steps, name).tolist() for name in ("text_key", "next_text_key")]
    for place, side in enumerate(columns):
        known: dict[World, int] = {}
        for key, pair in zip(side, pairs, strict=True):
            assert known.setdefault(pair[place], key) == key
        assert len(set(known.values())) == len(known)


@pytest.mark.samples
def test_fill_refuses_a_reference_or_episodes_that_would_be_silently_wrong() -> None:
    """The policy is no reference of its own, and one episode's hindsight is none for another's tokens."""
    policy = taught()
    episodes = draw_until(
        lambda draw: played(policy, seed=f"columns/{draw}"),
        lambda drawn: sampled_ids(drawn[::-1]) != sampled_ids(drawn),
    )
    batch = collate(episodes, policy.pad_id)
    with pytest.raises(MissingColumnError, match="pass it to fill"):
        fill(batch, episodes, {"ref_logprobs"}, policy)
    for wrong in ([], episodes[:1], episodes[::-1]):
        with pytest.raises(ValueError, match="not those of the batch"):
            fill(batch, wrong, {"teacher_logprobs"}, policy)


def sampled_ids(episodes: Sequence[Episode]) -> list[tuple[int, ...]]:
    """What was sampled at each step."""
    return [step.tokens.sampled_ids for e in episodes for step in e.steps if step.tokens is not None]


@pytest.mark.samples
def test_fill_asks_the_critic_and_the_environments_it_is_given() -> None:
    """Without them the error says which argument to pass; fresh attempts are counted."""
    policy, cost = taught(), Cost()
    episodes = played(policy)
    batch = collate(episodes, policy.pad_id)
    for column, message in (
        ("value", "critic=Critic"),
        ("mc_value", "pass envs="),
        ("gold_answer_logprob", "envs="),
    ):
        with pytest.raises(MissingColumnError, match=f"{column} needs .*{message}"):
            fill(batch, episodes, {column}, policy)
    envs, critic, fresh = [make_stack(run_config().env) for _ in range(4)], Critic(policy), fresh_attempts(1)
    torch.nn.init.normal_(critic.head.weight)
    needs = {"value", "mc_value"}
    filled = fill(batch, episodes, needs, policy, critic=critic, envs=envs, fresh=fresh, cost=cost)
    expected = monte_carlo_values(policy, envs, episodes, batch, fresh)
    assert filled.steps.value is not None and filled.steps.mc_value is not None
    torch.testing.assert_close(filled.steps.value, critic.values(batch, Scorer(policy).budget))
    assert torch.equal(filled.steps.mc_value, expected.values)
    sampled = [step.tokens for one in expected.attempts for step in one.steps if step.tokens is not None]
    assert cost == Cost(sum(len(tokens.sampled_ids) for tokens in sampled), expected.repeated + len(sampled))


@pytest.mark.samples
def test_fill_refuses_an_unknown_column_and_a_batch_that_contradicts_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is computed; a column that nobody computes is named with the function it lacks."""
    policy = taught()
    episodes = played(policy, members=1)
    batch = collate(episodes, policy.pad_id)
    with pytest.raises(ValueError, match="no column 'valeu'"):
        fill(batch, episodes, {"valeu"}, policy)
    with (
        monkeypatch.context() as without,
        pytest.raises(ValueError, match=r"columns must have a fill_informed"),
    ):
        without.delattr("stepopsd_agent.learner.columns.fill_informed")
        fill(batch, episodes, {"informed"}, policy)
    shifted = with_steps_of(batch, batch.tokens.step_of_token.roll(1, dims=1))
    with pytest.raises(AuditError, match="shifted mask"):
        fill(shifted, episodes, set(), policy)
    with pytest.raises(MissingColumnError, match="needs optimal_distance"):
        fill(batch, episodes, {"optimal_distance"}, policy)
    assert {"optimal_distance", "last_distance"} <= recorded_columns()


def test_batches_with_columns_put_in_keep_the_rest() -> None:
    """A column stays as it is until another one of its name is put in."""
    batch: Batch = batch_for(tiny())
    with_value = batch.with_columns(value=torch.ones(batch.num_steps))
    both = with_value.with_columns(mc_value=torch.zeros(batch.num_steps))
    assert both.steps.value is not None and both.steps.mc_value is not None and batch.steps.value is None
