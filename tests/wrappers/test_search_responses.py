"""Responses in Search-R1's tags: handed on whole, with the spans that the environment sees."""

import gymnasium as gym
import pytest
from hypothesis import given, strategies as st

from stepopsd_agent.rollout import action_tokens
from stepopsd_envs.search_qa import protocol
from stepopsd_wrappers import ParseResponse, parse_response
from tests.helpers.models import tiny
from tests.helpers.search_qa_runs import SEARCH_QA

PIECES = st.sampled_from(
    ["<search>", "</search>", "<answer>", "</answer>", "<think>", "</think>", "Ada", " ", "\n"]
)


@pytest.mark.parametrize(
    ("response", "action", "thought"),
    [
        ("<search>Ada Brenk</search>", "<search>Ada Brenk</search>", ""),
        ("<think>Who is it?</think>\n<search>Ada</search> ", "<search>Ada</search>", "Who is it?"),
        ("It is her. <answer>Ada</answer> Sure.", "<answer>Ada</answer>", "It is her."),
    ],
)
def test_parse_response_search_has_the_tagged_action(response: str, action: str, thought: str) -> None:
    """The command is the response to the last character."""
    parsed = parse_response(response, "search")
    assert parsed.valid and parsed.command == response
    assert response[slice(*parsed.action_span)] == action
    assert response[slice(*parsed.thought_span)] == thought


@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text()))
def test_parse_response_search_sees_what_the_environment_sees(response: str) -> None:
    """Whatever it is."""
    parsed, seen = parse_response(response, "search"), protocol.parse(response)
    assert (parsed.command, parsed.valid) == (response, seen.kind != "invalid")
    assert (parsed.action_span, parsed.thought_span) == (seen.action_span, seen.thought_span)


def test_parse_response_search_goes_through_the_wrapper_unchanged() -> None:
    """Blanks and thoughts reach the environment, which marks what it cannot read as invalid."""
    env = ParseResponse(gym.make(SEARCH_QA, tier="tiny"), "search")
    env.reset(seed=0)
    for response, kind in ((" <search> Ada </search>\n", "search"), ("Ada", "invalid")):
        *_, info = env.step(response)
        assert (info["step"]["action"], info["step"]["kind"]) == (response, kind)


def test_action_tokens_of_a_search_cover_it_and_not_the_thought() -> None:
    """From the tag that opens the action to the one that closes it."""
    policy = tiny()
    text = "<think>Hm, who?</think><search>a mug</search> so"
    (ids,) = policy.encode([text])
    start, end = action_tokens(policy, ids, text, "search")
    covered = policy.decode(ids[start:end])
    assert "<search>a mug</search>" in covered and "who" not in covered
    assert action_tokens(policy, policy.encode(["nothing"])[0], "nothing", "search") == (0, 0)
