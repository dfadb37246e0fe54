"""Records of episodes: exact round trips, and clear refusals."""

import json
import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from stepopsd_wrappers import Episode, EpisodeFormatError, Step, StepTokens
from stepopsd_wrappers.plain_json import dump_line, load_line
from tests.helpers.text_env import make_episode, make_tokens, step_info

# Every code point, lone surrogates included, with the troublesome ones often.
TEXT = st.text(
    st.one_of(st.sampled_from("\ud83d\ude00\ud800\udfff\uffff\U0001f600\n\0é "), st.characters(codec=None))
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def with_info(**values: Any) -> Episode:
    """An episode whose last info also holds `values`."""
    episode = make_episode()
    last = replace(episode.steps[-1], info={**episode.steps[-1].info, **values})
    return replace(episode, steps=(*episode.steps[:-1], last))


def record_of(episode: Episode) -> dict[str, Any]:
    """The record as another reader of JSON sees it."""
    record: dict[str, Any] = json.loads(episode.to_json())
    return record


def test_episode_round_trip_is_exact() -> None:
    """One line of ASCII gives back an equal record."""
    episode = make_episode(num_steps=3)
    line = episode.to_json()
    assert "\n" not in line and line.isascii()
    assert Episode.from_json(line) == episode
    assert Episode.from_json(line).to_json() == line


@settings(deadline=None)
@given(response=TEXT, observation=TEXT, key=TEXT, value=JSON, reward=FLOATS, logprob=FLOATS)
def test_episode_round_trip_keeps_any_string_and_float(
    response: str, observation: str, key: str, value: Any, reward: float, logprob: float
) -> None:
    """Whatever the environment and the model say."""
    tokens = StepTokens((), (4,), (logprob,), True, (0, 1))
    step = Step(
        observation, response, response.strip(), reward, True, False, {**step_info(1), key: value}, tokens
    )
    episode = replace(make_episode(num_steps=0), steps=(make_episode().steps[0], step), run=response)
    assert Episode.from_json(episode.to_json()) == episode


@settings(deadline=None)
@given(TEXT)
def test_dump_line_keeps_neighbouring_lone_surrogates_apart(text: str) -> None:
    """In values and in keys."""
    assert load_line(dump_line([text, {text: text}])) == [text, {text: text}]


def test_dump_line_would_join_surrogates_without_care() -> None:
    """The trap that the escape is for."""
    pair = "\ud83d\ude00"  # two code points, which plain json reads back as one
    assert json.loads(json.dumps(pair)) != pair
    assert load_line(dump_line(pair)) == pair


def test_episode_to_json_is_readable_by_other_readers() -> None:
    """The escape does not touch ordinary text."""
    record = record_of(replace(make_episode(), task_id="für/\U0001f600"))
    assert record["schema"] == "stepopsd.episode/1"
    assert record["task_id"] == "für/\U0001f600"
    assert record["steps"][1]["tokens"]["logprobs"] == [-0.1 / 3, -0.1 / 4, -0.1 / 5]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({1, 2}, r"steps\[2\]\.info\.extra"),
        ({"deep": [0, (1, 2)]}, r"steps\[2\]\.info\.extra\.deep\[1\]"),
        ({3: "three"}, r"steps\[2\]\.info\.extra: got the key 3"),
        (math.nan, r"steps\[2\]\.info\.extra: got nan"),
        ([-math.inf], r"steps\[2\]\.info\.extra\[0\]: got -inf"),
        (b"bytes", r"steps\[2\]\.info\.extra: got builtins\.bytes"),
    ],
)
def test_episode_to_json_names_the_field_json_cannot_hold(value: object, field: str) -> None:
    """With its path within the info."""
    with pytest.raises(EpisodeFormatError, match=field):
        with_info(extra=value).to_json()


def test_episode_to_json_names_mistyped_fields() -> None:
    """The record is checked before it is written, not only when it is read."""
    episode = make_episode()
    with pytest.raises(EpisodeFormatError, match=r"seed: got str, expected int"):
        replace(episode, seed="7").to_json()  # type: ignore[arg-type]
    with pytest.raises(EpisodeFormatError, match=r"update: got bool, expected int"):
        replace(episode, update=True).to_json()
    tokens = replace(make_tokens(), logprobs=(0.0, math.nan, 0.0))
    bad = replace(episode.steps[1], tokens=tokens)
    with pytest.raises(EpisodeFormatError, match=r"steps\[1\]\.tokens\.logprobs\[1\]: got nan"):
        replace(episode, steps=(episode.steps[0], bad)).to_json()


def test_episode_from_json_refuses_records_that_do_not_name_the_engine() -> None:
    """Every record says which engine answered."""
    record = load_line(make_episode().to_json())
    del record["engine_version"]
    with pytest.raises(EpisodeFormatError, match="engine_version"):
        Episode.from_json(dump_line(record))


@pytest.mark.parametrize("schema", ["stepopsd.episode/2", "other", None, 1])
def test_episode_from_json_refuses_another_schema(schema: object) -> None:
    """A later version must not be guessed at."""
    line = json.dumps({**record_of(make_episode()), "schema": schema})
    with pytest.raises(EpisodeFormatError, match=r"this version reads 'stepopsd\.episode/1'"):
        Episode.from_json(line)


@pytest.mark.parametrize("line", ["", "{", "[1, 2]", '"text"', "null", '{"steps": []}'])
def test_episode_from_json_refuses_what_is_no_episode(line: str) -> None:
    """No JSON, or JSON of another shape."""
    with pytest.raises(EpisodeFormatError):
        Episode.from_json(line)


def test_episode_from_json_names_missing_unknown_and_mistyped_fields() -> None:
    """With the step they belong to."""
    record = record_of(make_episode())
    with pytest.raises(EpisodeFormatError, match="expected a record with the fields"):
        Episode.from_json(json.dumps({**record, "colour": "red"}))
    del record["steps"][1]["reward"]
    with pytest.raises(EpisodeFormatError, match=r"steps\[1\]: got"):
        Episode.from_json(json.dumps(record))
    record["steps"][1]["reward"] = "1"
    with pytest.raises(EpisodeFormatError, match=r"steps\[1\]\.reward: got str, expected float or int"):
        Episode.from_json(json.dumps(record))


@pytest.mark.parametrize("span", [[0, 4], [2, 1], [-1, 2], [0], [0, 1, 2]])
def test_episode_from_json_refuses_an_action_span_outside_the_tokens(span: list[int]) -> None:
    """Also one that is no pair."""
    record = record_of(make_episode())
    record["steps"][1]["tokens"]["action_span"] = span
    with pytest.raises(EpisodeFormatError, match=r"steps\[1\]\.tokens"):
        Episode.from_json(json.dumps(record))


def test_episode_properties_follow_from_the_steps() -> None:
    """0.1 + 0.2 are the rewards of two steps."""
    episode = make_episode(num_steps=2)
    assert episode.num_steps == 2
    assert episode.episode_return == 0.1 + 0.2
    assert episode.task_type == "walk_and_open"
    assert not episode.success
    assert with_info(won=True).success


def test_episode_that_raised_is_no_success() -> None:
    """Its last step has no info to ask."""
    episode = make_episode()
    failed = Step("", "break", "break", 0.0, False, True, {}, error="RuntimeError: no")
    assert not replace(episode, steps=(*episode.steps, failed)).success


def test_episode_without_a_reset_is_refused() -> None:
    """There is nothing to stand at position 0."""
    with pytest.raises(ValueError, match="the first step has to be the reset"):
        replace(make_episode(), steps=())


def test_step_tokens_refuse_columns_of_different_lengths() -> None:
    """One log-probability for each sampled id."""
    with pytest.raises(ValueError, match="1 logprobs for 2 sampled_ids"):
        StepTokens((), (1, 2), (0.0,), True, (0, 2))


def test_episode_is_frozen() -> None:
    """Records do not change."""
    with pytest.raises(FrozenInstanceError):
        make_episode().seed = 1  # type: ignore[misc]
