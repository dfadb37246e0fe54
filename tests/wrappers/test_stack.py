"""The whole stack of wrappers."""

from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import Autoreset, FrameStackObservation

from stepopsd_wrappers import (
    EpisodeWriter,
    ParseResponse,
    RecordEpisode,
    TextHistory,
    make_text_env,
    read_episodes,
    recorder,
)
from stepopsd_wrappers.text_history import text_history
from tests.helpers.text_env import make_env


def test_make_text_env_is_made_again_from_its_spec(tmp_path: Path) -> None:
    """It records into the same folder, though an open writer was given."""
    with EpisodeWriter(tmp_path / "episodes") as writer:
        env = make_text_env(
            make_env(), format="plain", layout="window", writer=writer, on_episode=print, seed=3
        )
        spec = env.spec
    assert spec is not None
    again = gym.make(spec)
    again.reset()
    again.step("help")
    again.close()
    assert len(list(read_episodes(tmp_path / "episodes"))) == 1


@pytest.mark.filterwarnings("error", "ignore:.*different from the unwrapped version")
@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_make_text_env_passes_gymnasium_s_checker(layout: Any) -> None:
    """Warnings are errors, but for the one that there are wrappers."""
    check_env(make_text_env(make_env().unwrapped, layout=layout), skip_render_check=True)


def test_recorder_finds_the_recorder_in_a_stack() -> None:
    """Or says that there is none."""
    inner = RecordEpisode(ParseResponse(make_env()))
    assert recorder(TextHistory(inner)) is inner
    with pytest.raises(LookupError, match="has no RecordEpisode"):
        recorder(make_env())


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_a_restored_stack_continues_as_the_one_the_snapshot_is_of(layout: Any) -> None:
    """In another stack, twice: prompts, record and end are those of one played through."""

    def played(env: TextHistory, commands: list[str]) -> list[str]:
        prompts = [env.step(command)[0] for command in commands]
        env.close()
        return prompts

    first, second, third = (make_text_env(make_env(), format="plain", layout=layout) for _ in range(3))
    prompt, _ = first.reset(seed=5)
    prompt = first.step("help")[0]
    snapshot = first.snapshot()
    expected = played(first, ["look", "nonsense"])
    for other in (second, third):
        recorder(other).identify(run="again", member=2)
        assert other.restore(snapshot) == prompt == snapshot.prompt
        assert played(other, ["look", "nonsense"]) == expected
        one, copy = recorder(first).last_episode, recorder(other).last_episode
        assert one is not None and copy is not None
        assert (copy.steps, copy.seed, copy.task_id) == (one.steps, one.seed, one.task_id)
        assert (copy.run, copy.member) == ("again", 2)


def test_a_stack_has_no_snapshot_before_an_episode_or_without_its_wrappers() -> None:
    """It says what is missing."""
    env = make_text_env(make_env())
    with pytest.raises(gym.error.ResetNeeded, match=r"no episode is running; call reset\(\) before snapshot"):
        env.snapshot()
    with pytest.raises(LookupError, match="has no RecordEpisode"):
        TextHistory(make_env()).snapshot()
    assert text_history(env) is env
    with pytest.raises(LookupError, match="has no TextHistory"):
        text_history(make_env())


@pytest.mark.parametrize("inner", [Autoreset, TextHistory])
@pytest.mark.parametrize("outer", [RecordEpisode, TextHistory, ParseResponse])
def test_wrappers_in_the_wrong_order_name_the_right_one(outer: Any, inner: Any) -> None:
    """The recorder would take two episodes for one, or prompts for observations."""
    with pytest.raises(ValueError, match=rf"{outer.__name__} is around {inner.__name__}, which .*order"):
        outer(inner(make_env()))
    with pytest.raises(ValueError, match="belongs outside"):
        outer(gym.wrappers.OrderEnforcing(inner(make_env())))


def test_recorder_inside_the_parser_is_refused() -> None:
    """It would keep commands, and the tokens of responses beside them."""
    with pytest.raises(ValueError, match=r"ParseResponse is around RecordEpisode, which belongs outside"):
        ParseResponse(RecordEpisode(make_env()))


def test_autoreset_around_a_recorder_records_every_episode() -> None:
    """The order that the error names."""
    episodes: list[Any] = []
    env = Autoreset(RecordEpisode(make_env(), on_episode=episodes.append))
    env.reset(seed=0)
    for number in range(60):
        env.step("open door" if number % 2 else "go right")
    assert len(episodes) > 1 and all(episode.num_steps for episode in episodes)


@pytest.mark.parametrize("outer", [RecordEpisode, TextHistory])
def test_wrappers_refuse_observations_that_are_no_texts(outer: Any) -> None:
    """At reset, with what was got."""
    env = outer(FrameStackObservation(make_env(), 2))
    with pytest.raises(TypeError, match=rf"{outer.__name__} takes texts.*type tuple .*make_text_env"):
        env.reset(seed=0)


@pytest.mark.parametrize("inner", ["tags", "plain"])
def test_responses_are_parsed_once(inner: Literal["tags", "plain"]) -> None:
    """A command has no tags any more: a second parser would refuse every action, silently."""
    with pytest.raises(
        ValueError, match=r"ParseResponse is around ParseResponse, but a response is parsed once"
    ):
        make_text_env(ParseResponse(make_env(), format=inner))
