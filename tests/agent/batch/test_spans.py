"""Which of a step's tokens are looked at."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from stepopsd_agent.batch import place_in_step, span_mask
from stepopsd_agent.rollout import action_tokens
from tests.helpers.builders import Attempt, build, by_step, padded, random_batch, steady, turn
from tests.helpers.models import tiny


def test_span_mask_selects_the_turn_or_its_action() -> None:
    """Two prompt tokens, a turn of three with an action of two, an observation, a turn without an action."""
    batch = build([Attempt(0, 1.0, (turn(3, action=(1, 3)), turn(2, action=(2, 2))))])
    turns, actions = span_mask(batch, "turn"), span_mask(batch, "action")
    assert turns.int().tolist() == [[0, 0, 1, 1, 1, 0, 1, 1, 0]]
    assert actions.int().tolist() == [[0, 0, 0, 1, 1, 0, 0, 0, 0]]


def test_span_mask_selects_answers_and_the_final_one() -> None:
    """The actions of answering steps; of those only one that ends its episode is the final answer."""
    turns = (
        turn(2, action=(1, 2), kind="answer"),
        turn(2, action=(0, 1)),
        turn(2, action=(1, 2), kind="answer"),
    )
    searches = (turn(1, action=(0, 1), kind="answer"), turn(1, action=(0, 1), kind="search"))
    batch = build([Attempt(0, 1.0, turns), Attempt(0, 0.0, searches)])
    answers, final = span_mask(batch, "answer"), span_mask(batch, "final_answer")
    assert by_step(batch, answers.int()) == [[0, 1], [0, 0], [0, 1], [1], [0]]
    assert by_step(batch, final.int()) == [[0, 0], [0, 0], [0, 1], [0], [0]]


def test_place_in_step_counts_from_each_steps_first_token() -> None:
    """Steps may begin anywhere in a row."""
    step_of_token = torch.tensor([[-1, 0, 0, -1, 1], [-1, -1, 2, 2, 2]])
    assert place_in_step(step_of_token, 3).tolist() == [[-1, 0, 1, -1, 0], [-1, -1, 0, 1, 2]]


@given(st.integers(0, 100), st.integers(0, 3), st.integers(0, 3))
@steady
def test_span_mask_is_blind_to_layout_and_padding(seed: int, left: int, right: int) -> None:
    """A span belongs to a step, wherever its tokens lie."""
    transcript, window = random_batch(seed), random_batch(seed, "window")
    expected = by_step(transcript, span_mask(transcript, "action"))
    for batch in (window, padded(transcript, left, right)):
        mask = span_mask(batch, "action")
        assert by_step(batch, mask) == expected
        assert not (mask & ~batch.action_mask).any()


def test_span_mask_without_ranges_says_what_to_do() -> None:
    """A batch made by hand may not know where the actions are."""
    batch = random_batch(0)
    unknown = replace(batch, steps=replace(batch.steps, action_start=None, action_end=None))
    assert span_mask(unknown, "turn").any()
    with pytest.raises(ValueError, match="None: use span='turn'"):
        span_mask(unknown, "action")
    with pytest.raises(ValueError, match="'word'; it must be one of turn, action, answer, final_answer"):
        span_mask(batch, "word")  # type: ignore[arg-type]


def test_action_tokens_are_the_fewest_of_the_sampled_ids_that_cover_the_action() -> None:
    """However the text was cut into tokens when it was sampled: in words, or letter by letter."""
    policy, command = tiny(), "go to cabinet 1"
    text = f"<think>Öl? It is… hm.</think><action>{command}</action>"
    words, letters = policy.encode([text])[0], [i for letter in text for i in policy.encode([letter])[0]]
    assert len(words) < len(letters)
    for ids in (words, letters):
        assert policy.decode(ids) == text
        start, end = action_tokens(policy, ids, text, "tags")
        assert command in policy.decode(ids[start:end])
        assert command not in policy.decode(ids[start + 1 : end])
        assert command not in policy.decode(ids[start : end - 1])
