"""From responses to commands."""

import gymnasium as gym
import pytest
from hypothesis import given, settings, strategies as st

from stepopsd_wrappers import ParsedResponse, ParseResponse, parse_response
from tests.helpers.text_env import make_env

PIECES = st.sampled_from(
    [
        "<action>",
        "</action>",
        "<think>",
        "</think>",
        "go left",
        " ",
        "\n",
        "<Action>",
        "\u2003",
        "\ud800",
        "\U0001f6aa",
    ]
)
RESPONSES = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text())


@pytest.mark.parametrize(
    ("response", "command", "thought"),
    [
        ("<action>go left</action>", "go left", ""),
        ("<think>The door is left.</think><action>\n go left \n</action>", "go left", "The door is left."),
        ("I think so.\n<action>go left</action> and more", "go left", "I think so."),
        ("The door is left.\n</think>\n<action>go left</action>", "go left", "The door is left."),
        ("<action>go left</action><think>afterwards</think>", "go left", "afterwards"),
        ("<think>unclosed <action>go left</action>", "go left", "unclosed"),
        ("<think>inside <action>go left</action></think>", "go left", "inside"),
        ("<action>go  left\tnow</action>", "go  left\tnow", ""),
    ],
)
def test_parse_response_takes_the_single_action(response: str, command: str, thought: str) -> None:
    """The thought is what the tags say, else what stands before."""
    parsed = parse_response(response, "tags")
    assert parsed.valid
    assert parsed.command == command
    assert response[slice(*parsed.action_span)] == command
    assert response[slice(*parsed.thought_span)] == thought


@pytest.mark.parametrize(
    "response",
    [
        "",
        "go left",
        "<action></action>",
        "<action> \n </action>",
        "<action>go left",
        "go left</action>",
        "</action>go left<action>",
        "<action>go left</action><action>go right</action>",
        "<action>go <action>left</action></action>",
        "<action>go left</action></action>",
        "<ACTION>go left</ACTION>",
        "<action >go left</action >",
    ],
)
def test_parse_response_without_exactly_one_action_is_invalid(response: str) -> None:
    """None, several, empty, unbalanced or misspelt."""
    parsed = parse_response(response, "tags")
    assert (parsed.command, parsed.valid, parsed.action_span) == ("", False, (0, 0))


def test_parse_response_keeps_the_thought_of_an_invalid_response() -> None:
    """A model may be trained on it all the same."""
    response = "<think> hm </think> no action"
    assert response[slice(*parse_response(response, "tags").thought_span)] == "hm"


def test_parse_response_plain_strips_outer_blanks() -> None:
    """What the environments do with commands anyway; tags mean nothing here."""
    assert parse_response(" go  left\n", "plain") == ParsedResponse("go  left", True, (0, 0), (1, 9))
    assert parse_response(" \n", "plain") == ParsedResponse("", False, (0, 0), (0, 0))
    assert parse_response("<action>x</action>", "plain").command == "<action>x</action>"


@pytest.mark.parametrize("command", ["<think>go</think>", "go <think><think></think>", "<think>a</think> b"])
def test_parse_response_has_no_thought_inside_the_action(command: str) -> None:
    """Think tags there are words of the command; no character belongs to both."""
    parsed = parse_response(f"<action>{command}</action>", "tags")
    assert (parsed.command, parsed.thought_span) == (command, (0, 0))


@settings(deadline=None)
@given(response=RESPONSES, form=st.sampled_from(["tags", "plain"]))
def test_parse_response_spans_are_disjoint_and_hold_the_command(response: str, form: str) -> None:
    """For any text; blanks at the ends of neither."""
    parsed = parse_response(response, form)  # type: ignore[arg-type]
    thought, action = parsed.thought_span, parsed.action_span
    assert 0 <= thought[0] <= thought[1] <= len(response)
    assert 0 <= action[0] <= action[1] <= len(response)
    assert response[slice(*action)] == parsed.command
    assert parsed.valid == bool(parsed.command)
    assert response[slice(*thought)].strip() == response[slice(*thought)]
    if parsed.valid and thought[0] < thought[1]:
        assert thought[1] <= action[0] or action[1] <= thought[0]


def test_parse_response_names_the_formats() -> None:
    """Of function and wrapper."""
    with pytest.raises(ValueError, match=r"format is 'json'; allowed are 'tags', 'plain'"):
        parse_response("x", "json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"format is 'json'"):
        ParseResponse(make_env(), "json")  # type: ignore[arg-type]


def test_parse_response_wrapper_hands_on_the_command() -> None:
    """The environment says what reached it."""
    env = ParseResponse(make_env())
    env.reset(seed=0)
    assert env.step("<think>!</think><action> go right </action>")[4]["step"]["action"] == "go right"
    observation, *_, info = env.step("go right")
    assert (observation, info["step"]["action"], info["step"]["valid"]) == ("Nothing happens.", "", False)


@pytest.mark.parametrize("action", [None, 7, b"go right", ["go right"]])
def test_parse_response_wrapper_lets_what_is_no_string_through(action: object) -> None:
    """The environment marks it invalid and does not raise."""
    env = ParseResponse(make_env(disable_env_checker=True))
    env.reset(seed=0)
    info = env.step(action)[4]  # type: ignore[arg-type]
    assert (info["step"]["kind"], info["step"]["action"]) == ("invalid", "")


def test_parse_response_wrapper_is_made_again_from_its_spec() -> None:
    """As Gymnasium's own wrappers are."""
    again = gym.make(ParseResponse(make_env(), "plain").spec)  # type: ignore[arg-type]
    assert isinstance(again, ParseResponse)
    assert again.format == "plain"
