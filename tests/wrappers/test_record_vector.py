"""The recorder of vector environments makes the records that environments on their own would give."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from stepopsd_wrappers import (
    Episode,
    EpisodeWriter,
    ParseResponse,
    RecordEpisode,
    RecordingError,
    TextHistory,
    read_episodes,
    replay,
    vector as vector_wrappers,
)
from tests.helpers.alfworld_vectors import ENV_ID as ALFWORLD, SETTINGS, SIZE, make_vec, play
from tests.helpers.text_env import ENV_ID, make_env, make_tokens

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]

if TYPE_CHECKING:
    AnyWrapper = gym.vector.VectorWrapper[Any, Any, Any, Any, Any]
else:  # generic from Gymnasium 1.4 on
    AnyWrapper = gym.vector.VectorWrapper


class Annotating(AnyWrapper):
    """Gives the recorder within it other tokens at every step, and none to the last environment."""

    turn = 0

    def step(self, actions: Any) -> Any:
        """Annotate, then step."""
        self.turn += 1
        tokens = [make_tokens(self.turn + slot, new_row=slot == 0) for slot in range(self.num_envs - 1)]
        recorder = self.env
        assert isinstance(recorder, vector_wrappers.RecordEpisode)
        recorder.annotate([*tokens, None])
        return self.env.step(actions)


def alone(episode: Episode, env: gym.Env[str, str]) -> Episode:
    """The record of the same responses to the same task by the recorder of one environment."""
    recorder = RecordEpisode(env)
    recorder.identify(episode.run, episode.update, episode.group, episode.member)
    recorder.reset(seed=episode.seed, options={env.get_wrapper_attr("task_option"): episode.task_id})
    for step in episode.steps[1:]:
        if step.tokens is not None:
            recorder.annotate(step.tokens)
        recorder.step(step.response)
    recorder.close()
    assert recorder.last_episode is not None
    return recorder.last_episode


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("kind", ["vector_entry_point", "sync", "async"])
def test_record_vector_equals_the_records_of_single_environments(
    tmp_path: Path, kind: str, mode: AutoresetMode
) -> None:
    """To the token, for every kind of vector and autoreset mode; and the calls are not changed."""
    finished: list[Episode] = []
    envs = vector_wrappers.RecordEpisode(make_vec(kind, mode), tmp_path, on_episode=finished.append)
    calls = list(play(Annotating(envs), mode))
    assert len(finished) >= 2 * SIZE  # the limit of 4 steps ends them, after which each begins anew
    envs.close()
    bare = make_vec(kind, mode)
    assert all(
        np.array_equal(one, other) if isinstance(one, np.ndarray) else str(one) == str(other)
        for call, same in zip(calls, play(bare, mode), strict=True)
        for one, other in zip(call, same, strict=True)
    )
    bare.close()
    episodes = list(read_episodes(tmp_path))
    assert episodes == finished and any(episode.closed_early for episode in episodes)
    assert episodes == [alone(episode, gym.make(ALFWORLD, **SETTINGS)) for episode in episodes]
    assert sorted(episode.group for episode in episodes)[:SIZE] == list(range(SIZE))
    assert {step.tokens is None for episode in episodes for step in episode.steps[1:]} == {True, False}
    assert all(replay(episode).equal for episode in episodes)


def test_record_vector_of_responses_and_a_time_limit(tmp_path: Path) -> None:
    """SearchQA with a parser and Gymnasium's limit around each environment; seeds are drawn."""
    wrappers: list[Any] = [
        partial(gym.wrappers.TimeLimit, max_episode_steps=3),
        partial(ParseResponse, format="tags"),
    ]
    make = partial(gym.make_vec, ENV_ID, 2, vectorization_mode="sync", wrappers=wrappers, door="blue")
    envs = vector_wrappers.RecordEpisode(make(), tmp_path)
    envs.reset()
    for _ in range(3):
        envs.step(["<action>help</action>", "sing"])
    envs.close()
    one, two = read_episodes(tmp_path)
    assert one.steps[-1].truncated and not one.closed_early
    assert one.env_spec == {"id": ENV_ID, "kwargs": {"door": "blue", "max_episode_steps": 3}}
    assert (one.steps[1].response, one.steps[1].action) == ("<action>help</action>", "help")
    assert (two.steps[1].response, two.steps[1].action) == ("sing", "")


def test_record_vector_identifies_and_resets_by_mask(tmp_path: Path) -> None:
    """Only the masked episode is closed; the caller's options stay as they are."""
    envs = vector_wrappers.RecordEpisode(make_vec(mode=AutoresetMode.DISABLED), tmp_path)
    envs.identify(1, run="demo", update=3, group=7, member=2)
    envs.reset(seed=[4, 5, 6])
    envs.step(["look"] * SIZE)
    options = {"reset_mask": np.array([False, True, False])}
    envs.reset(seed=[1, 2, 3], options=options)
    assert [*options] == ["reset_mask"]
    (closed,) = read_episodes(tmp_path)
    assert (closed.run, closed.update, closed.group, closed.member, closed.seed) == ("demo", 3, 7, 2, 5)
    envs.step(["look"] * SIZE)
    envs.close()
    assert [(e.group, e.seed, e.num_steps) for e in read_episodes(tmp_path)][1:] == [
        (0, 4, 2),
        (9, 2, 1),
        (8, 6, 2),
    ]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_record_vector_closes_all_episodes_when_one_environment_raises(tmp_path: Path, kind: str) -> None:
    """With the steps before; it is not told which one raised, so no record blames one."""
    vector = {"shared_memory": False} if kind == "async" else {}
    envs = vector_wrappers.RecordEpisode(
        gym.make_vec(ENV_ID, 2, vectorization_mode=kind, vector_kwargs=vector), tmp_path
    )
    envs.reset(seed=0)
    envs.step(["help", "help"])
    with pytest.raises(RuntimeError, match="the simulator broke"):
        envs.step(["help", "break"])
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(["help", "help"])
    episodes = list(read_episodes(tmp_path))
    assert [(e.num_steps, e.closed_early, e.failed) for e in episodes] == [(1, True, False)] * 2
    envs.close()


def test_record_vector_on_a_full_disk_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One episode of the step is lost with an error, the other and all later ones are whole."""
    writer = EpisodeWriter(tmp_path)
    envs = vector_wrappers.RecordEpisode(
        gym.make_vec(ENV_ID, 2, vectorization_mode="sync", step_limit=2), writer=writer
    )
    envs.reset(seed=0)
    envs.step(["help", "help"])
    append, full = writer.append, [True]

    def append_later(episode: Episode) -> None:
        if full.pop() if full else False:
            raise RecordingError("cannot record: No space left on device")
        append(episode)

    monkeypatch.setattr(writer, "append", append_later)
    with pytest.raises(RecordingError, match="No space left"):
        envs.step(["help", "help"])
    for _ in range(3):  # a reset and two steps
        envs.step(["help", "help"])
    envs.close()
    writer.close()
    assert [(e.group, e.num_steps, e.closed_early) for e in read_episodes(tmp_path)] == [
        (1, 2, False),
        (2, 2, False),
        (3, 2, False),
    ]


def refused(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    """The recorder refuses, with this message."""
    with pytest.raises(error, match=match):
        vector_wrappers.RecordEpisode(make()).reset(seed=0)


def test_record_vector_refuses_what_it_cannot_record(tmp_path: Path) -> None:
    """One environment, prompts instead of observations, environments without seeds, a folder in use."""
    with pytest.raises(TypeError, match=r"stepopsd_wrappers\.vector\.RecordEpisode"):
        RecordEpisode(make_vec())
    refused(make_env, TypeError, r"stepopsd_wrappers\.RecordEpisode records one environment")
    refused(
        lambda: gym.make_vec(ENV_ID, 2, vectorization_mode="sync", wrappers=[TextHistory]),
        TypeError,
        "around RecordEpisode, not inside",
    )
    refused(
        lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), AttributeError, "'episode_seed'"
    )
    with pytest.raises(ValueError, match="options has a snapshot"):
        vector_wrappers.RecordEpisode(make_vec()).reset(options={"snapshot": {}})
    with pytest.raises(ValueError, match="annotate got 1 entries; give 3"):
        vector_wrappers.RecordEpisode(make_vec()).annotate([None])
    keep = vector_wrappers.RecordEpisode(make_vec(), tmp_path)
    with pytest.raises(RecordingError, match="another recorder of this process"):
        vector_wrappers.RecordEpisode(make_vec(), tmp_path)
    keep.close()
