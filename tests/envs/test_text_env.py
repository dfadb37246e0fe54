"""The base of the text environments, on a toy environment."""

from typing import Any

import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import TextEnv
from stepopsd_envs.transcript import Transcript
from tests.helpers.countdown import Countdown


def played(env: TextEnv, *actions: Any, **reset: Any) -> list[dict[str, Any]]:
    """The infos of an episode."""
    return [env.reset(**reset)[1], *(env.step(action)[4] for action in actions)]


def test_transcript_keeps_spans_while_it_grows() -> None:
    """Spans count code points, surrogates and emoji included."""
    transcript, spans = Transcript("a"), {}
    for text in ("", "b\u00e9", "\U0001f600", "\ud800", "x" * 1000):
        spans[text] = transcript.add(text)
        assert len(transcript) == len(str(transcript))
    assert all(str(transcript)[start:end] == text for text, (start, end) in spans.items())


def test_transcript_reads_like_a_session() -> None:
    """Opening text, then a prompt, the action and the answer for each step."""
    env = Countdown()
    played(env, "up", "down", options={"number": 2})
    expected = "The number is 2.\n> up\nNothing happens.\n> down\nThe number is 1."
    assert env.transcript == expected


def test_step_info_spans_are_the_action_and_the_observation() -> None:
    """The whole StepInfo of three calls, worked out by hand."""
    env = Countdown()
    reset, invalid, valid = (info["step"] for info in played(env, "\ud800 up", "down", options={"number": 2}))
    # "The number is 2." is 16 characters; "\n> " 3; "\ud800 up" 4; "\n" 1; "Nothing happens." 16
    assert (reset["action_start"], reset["action_end"]) == (0, 0)
    assert (reset["observation_start"], reset["observation_end"]) == (0, 16)
    assert (invalid["action_start"], invalid["action_end"]) == (19, 23)
    assert (invalid["observation_start"], invalid["observation_end"]) == (24, 40)
    assert (invalid["kind"], invalid["valid"]) == ("invalid", False)
    assert (valid["kind"], valid["valid"], valid["index"], valid["action"]) == ("act", True, 2, "down")
    assert valid["anchor"] == text_hash("The number is 1.") and valid["state"] == text_hash("1")


@pytest.mark.parametrize(
    "action", [None, 7, b"down", ["down"], object()], ids=["None", "number", "bytes", "list", "object"]
)
def test_step_counts_what_is_no_string_as_invalid(action: Any) -> None:
    """It never raises and is noted as an empty action."""
    env = Countdown()
    info = played(env, action, seed=1)[-1]
    assert info["step"]["action"] == "" and not info["step"]["valid"]
    assert env.transcript.endswith("\n> \nNothing happens.")


def test_won_ends_the_episode_as_terminated() -> None:
    """Stepping on then asks for a reset."""
    env = Countdown()
    env.reset(options={"number": 1})
    _, reward, terminated, truncated, info = env.step("down")
    assert (reward, terminated, truncated, info["won"], info["step"]["terminal"]) == (
        1.0,
        True,
        False,
        True,
        True,
    )
    with pytest.raises(ResetNeeded, match="terminated"):
        env.step("down")


def test_step_limit_ends_the_episode_as_truncated() -> None:
    """The same with the limit, which a reset renews."""
    env = Countdown(step_limit=2)
    env.reset(seed=0)
    assert env.step("down")[2:4] == (False, False)
    _, _, terminated, truncated, info = env.step("down")
    assert (terminated, truncated, info["step"]["terminal"]) == (False, True, False)
    with pytest.raises(ResetNeeded, match="step limit of 2"):
        env.step("down")
    env.reset()
    assert env.step("down")[2:4] == (False, False)


def test_won_with_the_last_step_is_terminated_not_truncated() -> None:
    """The two ends are never merged."""
    env = Countdown(step_limit=1)
    env.reset(options={"number": 1})
    assert env.step("down")[2:4] == (True, False)


def test_before_the_first_reset_everything_asks_for_one() -> None:
    """Step, snapshot and render have nothing to work on."""
    env = Countdown()
    for call in (lambda: env.step("down"), env.snapshot, env.render):
        with pytest.raises(ResetNeeded, match=r"reset\(\)"):
            call()


def test_episode_seed_replays_an_episode_begun_without_a_seed() -> None:
    """Task and episode seed are all a replay needs."""
    env, other = Countdown(), Countdown()
    env.reset(seed=5)
    info = played(env)[0]
    number = info["about"]["number"]
    again = played(other, seed=env.episode_seed, options={"number": number})[0]
    assert again == info and other.episode_seed == env.episode_seed


def test_episode_id_depends_on_task_and_seed() -> None:
    """And on nothing else."""
    env = Countdown()
    cases = [{"seed": s, "options": {"number": n}} for s in (1, 2) for n in (3, 4)]
    ids = [played(env, **case)[0]["step"]["episode_id"] for case in cases]
    assert len(set(ids)) == 4
    assert [played(env, **case)[0]["step"]["episode_id"] for case in cases] == ids


def test_snapshot_holds_the_remaining_limit() -> None:
    """Restored elsewhere, the episode keeps the limit it was begun with."""
    env, shorter = Countdown(step_limit=5), Countdown(step_limit=1)
    played(env, "down", "down", "down", seed=1)
    shorter.reset(seed=9)
    shorter.restore(env.snapshot())
    assert shorter.step("down")[2:4] == env.step("down")[2:4] == (False, False)
    assert shorter.step("down") == env.step("down")
    assert shorter.transcript == env.transcript


def test_restore_brings_the_end_of_an_episode_back() -> None:
    """A finished episode stays finished."""
    env = Countdown()
    played(env, "down", options={"number": 1})
    ended = env.snapshot()
    env.reset()
    env.restore(ended)
    with pytest.raises(ResetNeeded):
        env.step("down")


@pytest.mark.parametrize("bad", [None, 3, {}, {"schema": "stepopsd.snapshot/0"}], ids=repr)
def test_restore_refuses_what_is_no_snapshot(bad: Any) -> None:
    """And leaves the running episode as it was."""
    env = Countdown()
    env.reset(seed=1)
    before = env.snapshot()
    with pytest.raises(ValueError, match="snapshot"):
        env.restore(bad)
    assert env.snapshot() == before


@pytest.mark.parametrize("options", [{"nummer": 3}, {"snapshot": {}, "number": 3}, "number", 3], ids=str)
def test_reset_refuses_unknown_options(options: Any) -> None:
    """The message lists the options there are."""
    with pytest.raises(ValueError, match=r"\['number', 'snapshot'\]"):
        Countdown().reset(options=options)


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "9"], ids=repr)
def test_constructor_refuses_a_bad_step_limit(limit: Any) -> None:
    """It is a positive int."""
    with pytest.raises(ValueError, match="step_limit"):
        Countdown(step_limit=limit)


def test_constructor_refuses_an_unknown_render_mode() -> None:
    """The message lists the modes."""
    with pytest.raises(ValueError, match="ansi, human, rgb_array"):
        Countdown(render_mode="rgb")


def test_render_ansi_is_the_last_exchange() -> None:
    """The opening text first, later action and answer."""
    env = Countdown(render_mode="ansi")
    env.reset(options={"number": 2})
    assert env.render() == "The number is 2."
    env.step("down")
    assert env.render() == "> down\nThe number is 1."


def test_render_human_prints_each_exchange_once_and_readably(capsys: pytest.CaptureFixture[str]) -> None:
    """With the number of the step and the limit; control characters do not reach the terminal."""
    env = Countdown(render_mode="human")
    env.reset(options={"number": 2})
    env.step("\x1b[2J\ud800 up")
    assert env.render() is None
    printed = "The number is 2.\n[1/20] > \\x1b[2J\\ud800 up\nNothing happens.\n"
    assert capsys.readouterr().out == printed


class Log:
    """What programs put in the place of the standard output, to keep a copy."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        """Keep it."""
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""


def test_render_human_prints_to_whatever_takes_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `print` does; it need not tell an encoding."""
    monkeypatch.setattr("sys.stdout", log := Log())
    Countdown(render_mode="human").reset(options={"number": 2})
    assert log.text == "The number is 2.\n"


def test_render_human_says_how_the_episode_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """By the task, or by the limit; a branch shows the limit of the episode it continues."""
    env = Countdown(render_mode="human", step_limit=2)
    env.reset(options={"number": 1})
    begun = env.snapshot()
    env.step("down")
    assert capsys.readouterr().out.endswith("[1/2] > down\nThe number is 0.\n(the episode has terminated)\n")
    longer = Countdown(render_mode="human", step_limit=9)
    longer.reset(options={"snapshot": begun})
    for action in ("a", "b"):
        longer.step(action)
    assert capsys.readouterr().out.endswith("[2/2] > b\nNothing happens.\n(the step limit is reached)\n")


def test_render_without_a_mode_warns() -> None:
    """As Gymnasium does."""
    env = Countdown()
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_nothing_is_played_in_a_closed_environment() -> None:
    """Whether an episode was running or not; closing it again does nothing."""
    env = Countdown()
    env.reset(seed=0)
    snapshot = env.snapshot()
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step("down"), lambda: env.restore(snapshot)):
        with pytest.raises(ClosedEnvironmentError, match="is closed: make another one"):
            call()
    unused = Countdown()
    unused.close()
    with pytest.raises(ClosedEnvironmentError, match="is closed"):
        unused.step("down")
