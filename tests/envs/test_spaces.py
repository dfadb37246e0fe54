"""The text space that holds every string."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import CustomSpaceError
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, create_shared_memory, iterate

from stepopsd_envs.spaces import MAX_SAMPLE_LENGTH, UnicodeText


@pytest.mark.parametrize("text", ["", " ", "caf\u00e9", "\x00\x1b", "\ud800", "\U0001f600", "x" * 1_000_000])
def test_unicode_text_contains_every_string(text: str) -> None:
    """Whatever its length or characters."""
    assert text in UnicodeText()


@pytest.mark.parametrize("value", [None, 1, b"look", ["look"], np.zeros(2)], ids=str)
def test_unicode_text_contains_nothing_else(value: object) -> None:
    """Bytes, lists and the like are no text."""
    assert value not in UnicodeText()


def test_unicode_text_samples_are_seeded_and_contained() -> None:
    """One seed gives one sequence of short texts, some with accents."""
    one, other = UnicodeText(seed=3), UnicodeText(seed=3)
    samples = [one.sample() for _ in range(200)]
    assert samples == [other.sample() for _ in range(200)]
    assert all(sample in one and len(sample) <= MAX_SAMPLE_LENGTH for sample in samples)
    assert "".join(samples).isascii() is False


def test_unicode_text_is_a_gymnasium_text_space_that_copies() -> None:
    """It pickles, copies and compares by value."""
    space = UnicodeText(seed=1)
    assert isinstance(space, gym.spaces.Text)
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space == UnicodeText()
    assert space != gym.spaces.Text(5) and repr(space) == "UnicodeText()"


def test_unicode_text_batches_as_a_tuple_of_texts() -> None:
    """What vector environments do with a space works."""
    space = UnicodeText(seed=1)
    batched = batch_space(space, 2)
    texts = ("", "caf\u00e9\ud800")
    assert create_empty_array(space, 2) == ("", "")
    assert concatenate(space, texts, ("", "")) == texts
    assert texts in batched and list(iterate(batched, texts)) == list(texts)


def test_unicode_text_refuses_to_become_an_array() -> None:
    """Flattening and shared memory say what to do instead."""
    space = UnicodeText()
    assert not space.is_np_flattenable
    with pytest.raises(CustomSpaceError, match="encode"):
        gym.spaces.flatten(space, "look")
    with pytest.raises(CustomSpaceError, match="shared_memory=False"):
        create_shared_memory(space, 2)
