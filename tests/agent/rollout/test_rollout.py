"""From environment to batch: what the recorder kept is what the learner gets, however it was played."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import pytest
import torch

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.batch.audit import audit
from stepopsd_agent.config.run import EnvConfig
from stepopsd_agent.hindsight.teacher_logprobs import plain_logprobs
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout.decoder import Decoder, Sampled
from stepopsd_agent.rollout.rollout import Sampling, Task, rollout
from stepopsd_agent.tasks.make import env_arguments, make_stack, task_ids
from stepopsd_wrappers import Episode, EpisodeWriter, make_text_env, parse_response, read_episodes
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught

SAMPLING = Sampling(seed="test", temperature=1.0, max_tokens=10, max_row_tokens=512)
GAMES = run_config(env={"num_games": 3}).env


def stacks(count: int, config: EnvConfig = GAMES) -> list[gym.Env[str, str]]:
    """So many environments to play in."""
    return [make_stack(config) for _ in range(count)]


def tasks(config: EnvConfig = GAMES, members: int = 2) -> list[Task]:
    """A group for every game."""
    ids = task_ids(make_stack(config))
    return [Task(name, seed=7, group=k, member=m) for k, name in enumerate(ids) for m in range(members)]


def play(policy: Policy, slots: int = 4, config: EnvConfig = GAMES, **sampling: Any) -> list[Episode]:
    """Every game twice."""
    form = make_format(policy, "off", "", False)
    settings = replace(SAMPLING, response=config.response, **sampling)
    return rollout(policy, form, stacks(slots, config), tasks(config), settings, run="r", update=3)


def sampled(episodes: Sequence[Episode]) -> list[list[tuple[int, ...]]]:
    """The ids of every step of every episode."""
    return [[step.tokens.sampled_ids for step in e.steps[1:] if step.tokens] for e in episodes]


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
    alone = play(policy, slots=1, config=config)
    assert {e.success for e in alone} == {True, False} or layout == "window"
    for slots in (2, 5, 6):
        assert sampled(play(policy, slots=slots, config=config)) == sampled(alone)


@pytest.mark.parametrize("drawing", [{"top_k": 5}, {"top_p": 0.8, "temperature": 1.3}, {"stop": ("1",)}])
def test_rollout_with_cuts_or_stops_does_not_depend_on_slots(drawing: dict[str, Any]) -> None:
    """Float64, and other ids than without."""
    policy = taught("float64")
    alone = sampled(play(policy, slots=1, **drawing))
    assert sampled(play(policy, slots=6, **drawing)) == alone
    assert alone != sampled(play(policy))


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

    def counting(self: Decoder, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled]:
        answers = respond(self, prompts, uniforms)
        given.extend(token for answer in answers for token in answer.ids)
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


def test_rollout_returns_records_in_the_order_of_the_tasks() -> None:
    """With their names, and every observation, whoever finished first."""
    episodes = play(taught(), slots=2)
    assert [(e.task_id, e.seed, e.group, e.member) for e in episodes] == [
        (t.task_id, t.seed, t.group, t.member) for t in tasks()
    ]
    assert {(e.run, e.update) for e in episodes} == {("r", 3)}
    assert all(e.steps[-1].terminated or e.steps[-1].truncated for e in episodes)


def test_rollout_tells_of_each_episode_as_it_finishes() -> None:
    """For progress bars and recorders."""
    policy, finished = taught(), list[Episode]()
    form = make_format(policy, "off", "", False)
    episodes = rollout(policy, form, stacks(3), tasks(), SAMPLING, on_episode=finished.append)
    assert sorted(finished, key=lambda e: (e.group, e.member)) == episodes


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_rollout_recorded_logprobs_are_those_of_the_weights(layout: Any) -> None:
    """One pass over finished rows gives what was recorded in sampling, over turns and refilled slots."""
    policy = taught()
    batch = collate(play(policy, slots=2, config=replace(GAMES, layout=layout)), pad_id=policy.pad_id)
    audit(batch)
    scored = plain_logprobs(policy, batch, tokens_per_pass=4096)
    torch.testing.assert_close(scored, batch.tokens.old_logprobs, atol=1e-5, rtol=0)
    assert batch.tokens.old_logprobs.min() < -0.5  # not all certain


def test_rollout_recorded_logprobs_notice_other_weights() -> None:
    """The comparison above can fail."""
    policy = taught()
    batch = collate(play(policy), pad_id=policy.pad_id)
    state = {name: tensor * 1.01 for name, tensor in policy.state().items()}
    with policy.weights(state):
        scored = plain_logprobs(policy, batch, tokens_per_pass=4096)
    assert (scored - batch.tokens.old_logprobs).abs().max() > 1e-3


def test_rollout_layouts_are_a_row_per_episode_or_per_step() -> None:
    """The same tables beside."""
    transcript = collate(play(taught()), pad_id=0)
    window = collate(play(taught(), config=replace(GAMES, layout="window")), pad_id=0)
    assert transcript.num_rows == transcript.num_episodes == window.num_episodes == 6
    assert window.num_rows == window.num_steps > window.num_episodes


def test_rollout_generates_nothing_for_finished_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder is asked for exactly as many responses as there are steps, and rows shrink at the end."""
    asked: list[int] = []
    respond = Decoder.respond

    def counting(self: Decoder, prompts: Sequence[Sequence[int]], uniforms: np.ndarray) -> list[Sampled]:
        asked.append(len(prompts))
        return respond(self, prompts, uniforms)

    monkeypatch.setattr(Decoder, "respond", counting)
    episodes = play(taught(), slots=4)
    assert sum(asked) == sum(episode.num_steps for episode in episodes)
    assert len({episode.num_steps for episode in episodes}) > 1
    assert asked[0] == 4 and asked[-1] < 4


class Breaking(gym.Wrapper[str, str, str, str]):
    """Fails at the second step of every episode with the seed 13."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Note the seed."""
        self.seed, self.count = seed, 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Fail when due."""
        self.count += 1
        if self.seed == 13 and self.count == 2:
            raise RuntimeError("the simulator broke")
        return self.env.step(action)


def test_rollout_keeps_an_error_of_the_environment_as_a_record() -> None:
    """The others go on, and so does the slot it happened in."""
    policy = taught()
    envs = [
        make_text_env(Breaking(gym.make(GAMES.id, **env_arguments(GAMES))), format="plain") for _ in range(2)
    ]
    attempts = [replace(task, seed=13) if k == 1 else task for k, task in enumerate(tasks())]
    form = make_format(policy, "off", "", False)
    episodes = rollout(policy, form, envs, attempts, SAMPLING)
    assert [e.steps[-1].error for e in episodes] == [None, "RuntimeError: the simulator broke", *[None] * 4]
    assert episodes[1].num_steps == 2 and not episodes[1].success
    sound = [e for k, e in enumerate(episodes) if k != 1]
    assert sampled(sound) == sampled([e for k, e in enumerate(play(policy, slots=2)) if k != 1])


@pytest.mark.parametrize("fault", [KeyboardInterrupt, AssertionError])
def test_rollout_does_not_keep_its_own_mistakes(
    fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails outside the environment, or is no error at all, ends the rollout."""

    def wrong(self: gym.Env[str, str], action: str) -> None:
        raise fault("not the environment")

    monkeypatch.setattr("stepopsd_wrappers.text_history.TextHistory.step", wrong)
    with pytest.raises(fault):
        play(taught())


def test_rollout_truncates_an_episode_whose_row_is_full() -> None:
    """Closed by the recorder, never longer than allowed, and the shorter ones are untouched."""
    policy = taught()
    free, tight = play(policy), play(policy, max_row_tokens=150)
    batch = collate(tight, pad_id=0)
    assert batch.tokens.attention_mask.sum(1).max() <= 150
    closed = [e for e in tight if e.closed_early]
    assert closed and all(e.steps[-1].truncated and not e.steps[-1].terminated for e in closed)
    for short, long in zip(sampled(tight), sampled(free), strict=True):
        assert short == long[: len(short)]


def test_rollout_cuts_a_first_prompt_that_is_too_long() -> None:
    """Its beginning goes: the end holds the task and asks for a command."""
    episodes = play(taught(), max_row_tokens=40)
    first = episodes[0].steps[1].tokens
    assert first is not None and len(first.prompt_ids) == 40 - SAMPLING.max_tokens
    assert all(e.num_steps == 1 and e.closed_early for e in episodes)


def test_rollout_temperature_zero_needs_no_noise() -> None:
    """The likeliest command, whatever the seed."""
    policy = taught("float64")
    assert sampled(play(policy, temperature=0.0)) == sampled(play(policy, temperature=0.0, seed="other"))
    assert sampled(play(policy)) != sampled(play(policy, seed="other"))


def test_rollout_attempts_differ_by_member() -> None:
    """Two attempts at a game in one update are not the same attempt."""
    episodes = play(taught())
    pairs = zip(sampled(episodes)[::2], sampled(episodes)[1::2], strict=True)
    assert any(first != second for first, second in pairs)


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
