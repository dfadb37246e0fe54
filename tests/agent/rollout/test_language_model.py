"""A policy plays: what the recorder kept is what the learner gets, whatever the slots and the layout."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from stepopsd_agent.batch import Batch, audit, collate
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import Attempt, Decoder, Sampled, SamplingParams, rollout
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode, EpisodeWriter, parse_response, read_episodes
from tests.helpers.models import tiny
from tests.helpers.runs import draw_until, run_config, taught

pytestmark = pytest.mark.samples
PARAMS = SamplingParams(max_tokens=10, max_row_tokens=512)
GAMES = run_config(env={"num_games": 3}).env


def stacks(count: int, config: EnvConfig = GAMES) -> list[gym.Env[str, str]]:
    """So many environments to play in."""
    return [make_stack(config) for _ in range(count)]


def attempts(config: EnvConfig = GAMES, members: int = 2) -> list[Attempt]:
    """A group for every game."""
    ids = task_ids(make_stack(config))
    return [Attempt(name, seed=7, group=k, member=m) for k, name in enumerate(ids) for m in range(members)]


def play(
    policy: Policy, slots: int = 4, config: EnvConfig = GAMES, seed: str = "test", **sampling: Any
) -> list[Episode]:
    """Every game twice."""
    params = replace(PARAMS, **sampling)
    return rollout(policy, stacks(slots, config), attempts(config), params, seed=seed, run="r", update=3)


def sampled(episodes: Sequence[Episode]) -> list[list[tuple[int, ...]]]:
    """The ids of every step of every episode."""
    return [[step.tokens.sampled_ids for step in e.steps[1:] if step.tokens] for e in episodes]


def uneven(episodes: Sequence[Episode]) -> bool:
    """Whether some were won and others lost, so that some ended sooner than others."""
    return {e.success for e in episodes} == {True, False} and len({e.num_steps for e in episodes}) > 1


def columns(batch: Batch) -> dict[str, torch.Tensor | None]:
    """Every column of every table."""
    return {
        **{f"tokens.{f.name}": getattr(batch.tokens, f.name) for f in fields(batch.tokens)},
        **{f"steps.{f.name}": getattr(batch.steps, f.name) for f in fields(batch.steps)},
        **{f"episodes.{f.name}": getattr(batch.episodes, f.name) for f in fields(batch.episodes)},
    }


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_rollout_batch_from_records_equals_batch_from_memory(layout: Any, tmp_path: Path) -> None:
    """Written, read and collated: the same bits in every column."""
    episodes = play(taught(), config=replace(GAMES, layout=layout))
    with EpisodeWriter(tmp_path) as writer:
        for episode in episodes:
            writer.append(episode)
    read = list(read_episodes(tmp_path))
    assert read == episodes
    memory, disk = columns(collate(episodes, pad_id=0)), columns(collate(read, pad_id=0))
    for name, column in memory.items():
        other = disk[name]
        assert (column is None and other is None) or torch.equal(column, other), name  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_rollout_samples_the_same_ids_whatever_the_number_of_slots(layout: Any) -> None:
    """Float64: one after the other, in pairs, or all at once."""
    policy, config = taught("float64"), replace(GAMES, layout=layout)

    def alone(number: int) -> tuple[str, list[Episode]]:
        return f"test/{number}", play(policy, slots=1, config=config, seed=f"test/{number}")

    seed, episodes = draw_until(alone, lambda drawn: layout == "window" or uneven(drawn[1]))
    for slots in (2, 5, 6):
        assert sampled(play(policy, slots=slots, config=config, seed=seed)) == sampled(episodes)


@pytest.mark.parametrize("sampling", [{"top_k": 5}, {"top_p": 0.8, "temperature": 1.3}, {"stop": ("1",)}])
def test_rollout_with_cuts_or_stops_does_not_depend_on_slots(sampling: dict[str, Any]) -> None:
    """Float64, where the ids are others than without."""
    policy = taught("float64")

    def both(number: int) -> tuple[str, Any, Any]:
        seed = f"test/{number}"
        return seed, sampled(play(policy, slots=1, seed=seed, **sampling)), sampled(play(policy, seed=seed))

    seed, alone, _ = draw_until(both, lambda drawn: drawn[1] != drawn[2])
    assert sampled(play(policy, slots=6, seed=seed, **sampling)) == alone


def test_rollout_logprobs_do_not_depend_on_slots() -> None:
    """Float32: within 1e-5 in every episode whose ids are the same, which are nearly all."""
    policy, same = taught(), 0
    alone, together = play(policy, slots=1), play(policy, slots=6)
    for first, second in zip(alone, together, strict=True):
        if sampled([first]) != sampled([second]):
            continue
        same += 1
        ours, theirs = (
            torch.tensor([x for s in e.steps[1:] if s.tokens for x in s.tokens.logprobs])
            for e in (first, second)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert same >= len(alone) - 1


def test_rollout_throws_no_sampled_token_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the decoder gave is in the records, each id once, with fewer slots than attempts."""
    given: list[int] = []
    respond = Decoder.respond

    def counting(self: Decoder, *asked: Any) -> list[Sampled | None]:
        answers = respond(self, *asked)
        given.extend(token for answer in answers if answer for token in answer.ids)
        return answers

    monkeypatch.setattr(Decoder, "respond", counting)
    kept = [token for episode in sampled(play(taught(), slots=2)) for step in episode for token in step]
    assert sorted(given) == sorted(kept)


def test_rollout_stops_at_a_string_and_goes_on_with_the_next_turn() -> None:
    """The row is what was sampled, the end of the turn, the answer: it stays one row per episode."""
    policy = taught()
    episodes = play(policy, stop=("1",))
    steps = [step for e in episodes for step in e.steps[1:] if step.tokens is not None]
    stopped = [step for step in steps if "1" in step.response]
    assert stopped and all(
        policy.decode(s.tokens.sampled_ids[:-1]).count("1") == 0 for s in stopped if s.tokens
    )
    assert collate(episodes, pad_id=0).num_rows == len(episodes)


def test_rollout_returns_records_in_the_order_of_the_attempts() -> None:
    """With their names, and every observation, whoever finished first."""
    episodes = play(taught(), slots=2)
    assert [(e.task_id, e.seed, e.group, e.member) for e in episodes] == [
        (a.task_id, a.seed, a.group, a.member) for a in attempts()
    ]
    assert {(e.run, e.update) for e in episodes} == {("r", 3)}
    assert all(e.steps[-1].terminated or e.steps[-1].truncated for e in episodes)


def test_rollout_tells_of_each_episode_as_it_finishes() -> None:
    """For progress bars and recorders."""
    finished: list[Episode] = []
    episodes = rollout(taught(), stacks(3), attempts(), PARAMS, on_episode=finished.append)
    assert sorted(finished, key=lambda e: (e.group, e.member)) == episodes


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_rollout_recorded_logprobs_are_those_of_the_weights(layout: Any) -> None:
    """One pass over finished rows gives what was recorded in sampling, over turns and refilled slots."""
    policy = taught()
    batch = collate(play(policy, slots=2, config=replace(GAMES, layout=layout)), pad_id=policy.pad_id)
    audit(batch)
    scored = batch_logprobs(Scorer(policy, tokens_per_pass=4096), batch)
    torch.testing.assert_close(scored, batch.tokens.old_logprobs, atol=1e-5, rtol=0)
    assert batch.tokens.old_logprobs.min() < -0.5  # not all certain


def test_rollout_recorded_logprobs_notice_other_weights() -> None:
    """The comparison above can fail."""
    policy = taught()
    batch = collate(play(policy), pad_id=policy.pad_id)
    state = {name: tensor * 1.01 for name, tensor in policy.state().items()}
    with policy.weights(state):
        scored = batch_logprobs(Scorer(policy, tokens_per_pass=4096), batch)
    assert (scored - batch.tokens.old_logprobs).abs().max() > 1e-3


def test_rollout_layouts_are_a_row_per_episode_or_per_step() -> None:
    """The same tables beside."""
    transcript = collate(play(taught()), pad_id=0)
    window = collate(play(taught(), config=replace(GAMES, layout="window")), pad_id=0)
    assert transcript.num_rows == transcript.num_episodes == window.num_episodes == 6
    assert window.num_rows == window.num_steps > window.num_episodes


def test_rollout_truncates_an_episode_whose_row_is_full() -> None:
    """Closed by the recorder, never longer than allowed, and the shorter ones are untouched."""
    policy = taught("float64")
    free = play(policy)
    lengths = collate(free, pad_id=0).tokens.attention_mask.sum(1)
    most = int(lengths.max()) - 1  # the longest has no room
    tight = play(policy, max_row_tokens=most)
    assert collate(tight, pad_id=0).tokens.attention_mask.sum(1).max() <= most
    closed = [e for e in tight if e.closed_early]
    assert closed and all(e.steps[-1].truncated and not e.steps[-1].terminated for e in closed)
    for short, long in zip(sampled(tight), sampled(free), strict=True):
        assert short == long[: len(short)]


def test_rollout_temperature_zero_needs_no_noise() -> None:
    """The likeliest command, whatever the seed."""
    policy = taught("float64")
    assert sampled(play(policy, temperature=0.0)) == sampled(play(policy, temperature=0.0, seed="other"))
    assert sampled(play(policy)) != sampled(play(policy, seed="other"))


def test_rollout_attempts_differ_by_member() -> None:
    """Two attempts at a game in one update are not the same attempt."""
    policy = taught()
    ids = draw_until(lambda n: sampled(play(policy, seed=f"test/{n}")), lambda ids: ids[::2] != ids[1::2])
    assert len(ids) == len(attempts())


@pytest.mark.parametrize(
    ("response", "command"),
    [("plain", lambda text: text.strip()), ("tags", lambda t: parse_response(t).command)],
)
def test_rollout_gives_the_environment_the_text_of_the_sampled_ids(
    response: Any, command: Callable[[str], str]
) -> None:
    """Text comes from ids; the action's span of tokens covers the action."""
    policy = tiny()
    for episode in play(policy, config=replace(GAMES, response=response), temperature=1.3):
        for step in episode.steps[1:]:
            assert step.tokens is not None
            assert step.response == policy.decode(step.tokens.sampled_ids)
            assert step.action == command(step.response)
            start, end = step.tokens.action_span
            assert step.action in policy.decode(step.tokens.sampled_ids[start:end])
