"""Hints at the name that may have been meant."""

import pytest

from stepopsd_envs.near_names import did_you_mean, near_name

NAMES = ["look_at_obj_in_light", "train", "valid_seen", "valid_unseen"]


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("trian", "train"),
        ("TRAIN", "train"),
        ("valid_sen", "valid_seen"),
        ("look_at", "look_at_obj_in_light"),  # the only one that begins so, though few letters agree
        ("valid", "valid_seen"),  # two begin so, and the shorter one has more of its letters
        ("tr", None),
        ("xyzzy", None),
        (3, None),
    ],
)
def test_near_name_is_the_nearest_or_none(given: object, near: str | None) -> None:
    """Case does not count, and nothing is guessed where nothing is near."""
    assert near_name(given, NAMES) == near
    assert did_you_mean(given, NAMES) == ("" if near is None else f"did you mean {near!r}? ")
