"""Prompts made of the observations."""

import gymnasium as gym
import pytest
from hypothesis import given, settings, strategies as st

from stepopsd_wrappers import ParseResponse, TextHistory
from stepopsd_wrappers.text_history import MARKER, turn
from tests.helpers.text_env import make_env

RESPONSES = st.lists(
    st.one_of(st.sampled_from(["go left", "go right", "help", "", "\n> ", " ", "\ud800", "\0"]), st.text()),
    max_size=8,
)


@settings(deadline=None)
@given(RESPONSES)
def test_transcript_prompt_extends_the_one_before(responses: list[str]) -> None:
    """The rule that lets a model keep its cache; the turn is made of the observation alone."""
    raw, env = make_env(), TextHistory(make_env(), "transcript")
    observation, _ = raw.reset(seed=3)
    prompt, _ = env.reset(seed=3)
    assert prompt == observation + "\n> "
    for response in responses:
        before = prompt
        observation, reward, *ends, info = raw.step(response)
        prompt, *rest = env.step(response)
        assert rest == [reward, *ends, info]
        assert prompt == before + response + "\n" + observation + "\n> "
        assert prompt.removeprefix(before + response) == turn(observation)


def test_transcript_begins_anew_at_reset() -> None:
    """Nothing of the last episode is left."""
    env = TextHistory(make_env())
    first, _ = env.reset(seed=3)
    env.step("go left")
    assert env.reset(seed=3)[0] == first


def test_transcript_takes_what_is_no_string_as_nothing() -> None:
    """As the environment does."""
    env = TextHistory(make_env(disable_env_checker=True))
    first, _ = env.reset(seed=3)
    assert env.step(7)[0] == first + "\nNothing happens.\n> "  # type: ignore[arg-type]


def test_window_shows_task_past_present_and_commands() -> None:
    """The whole prompt, after three steps of which two are shown."""
    env = TextHistory(make_env(), "window", steps=2)
    env.reset(seed=0, options={"game": "corridor/5"})
    for response in ("go left", " sing ", "go right"):
        prompt, *_ = env.step(response)
    here = int(prompt.split("Now you see: You stand at ")[1][0])
    assert prompt == (
        "Your task: open the red door at 5, s'il vous plaît.\n"
        "Steps taken so far: 3\n"
        "The last of them:\n"
        f"[2] You saw: You stand at {here - 1}.\n"
        "[2] You did:  sing \n"
        "[3] You saw: Nothing happens.\n"
        "[3] You did: go right\n"
        f"Now you see: You stand at {here}.\n"
        "Commands you can give now:\n"
        "- go left\n"
        "- go right\n"
        "Answer with one command and nothing else.\n"
        "> "
    )


def test_window_shows_commands_not_thoughts() -> None:
    """And asks for the format that is parsed; a response without a command is said to be so."""
    env = TextHistory(ParseResponse(make_env(), "tags"), "window")
    env.reset(seed=0)
    env.step("<think>secret</think><action>go left</action>")
    prompt, *_ = env.step("secret")
    assert "secret" not in prompt
    assert "[1] You did: go left\n" in prompt
    assert "[2] You did: (no command)\n" in prompt
    assert "inside <action> and </action>" in prompt


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
def test_window_shows_at_most_the_last_steps(steps: int) -> None:
    """And no more of them than there are; at the beginning none."""
    env = TextHistory(make_env(), "window", steps=steps)
    prompt, _ = env.reset(seed=0)
    for taken in range(6):
        shown = [f"[{number}] You did: go left" in prompt for number in range(1, 7)]
        assert shown == [max(0, taken - steps) < number <= taken for number in range(1, 7)]
        assert f"Steps taken so far: {taken}\n" in prompt
        assert prompt.endswith(MARKER)
        prompt, *_ = env.step("go left")


def test_window_begins_anew_at_reset() -> None:
    """Nothing of the last episode is left."""
    env = TextHistory(make_env(), "window")
    first, _ = env.reset(seed=3)
    env.step("go left")
    assert env.reset(seed=3)[0] == first


def test_text_history_names_what_is_allowed() -> None:
    """Layouts and numbers of steps."""
    with pytest.raises(ValueError, match=r"layout is 'chat'; allowed are 'transcript', 'window'"):
        TextHistory(make_env(), "chat")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps is -1; give the number"):
        TextHistory(make_env(), steps=-1)


def test_text_history_is_made_again_from_its_spec() -> None:
    """With what it wraps."""
    env = TextHistory(ParseResponse(make_env(), "plain"), "window", steps=5)
    again = gym.make(env.spec)  # type: ignore[arg-type]
    assert isinstance(again, TextHistory)
    assert again.reset(seed=1)[0] == env.reset(seed=1)[0]
    assert again.step("help")[0] == env.step("help")[0]


def test_text_history_lets_render_through() -> None:
    """What the environment draws is not changed."""
    env = TextHistory(ParseResponse(make_env(render_mode="ansi"), "plain"))
    env.reset(seed=1)
    env.step(" help ")
    assert str(env.render()).startswith("> help\nYou stand at")
