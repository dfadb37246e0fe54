"""The dice that worlds rest on."""

from collections import Counter

from stepopsd_envs.search_qa.world_dice import Dice


def test_dice_are_fair_and_stay_what_they_were() -> None:
    """Worlds rest on them."""
    dice = Dice("test")
    assert [dice.number(1, 6) for _ in range(8)] == [4, 6, 1, 1, 5, 6, 6, 5]
    assert dice.shuffled("abcdef") == list("bcedaf")
    counts = Counter(dice.pick("abc") for _ in range(3_000))
    assert all(900 < count < 1_100 for count in counts.values())
    assert 400 < sum(dice.chance(0.5) for _ in range(1_000)) < 600
    assert {dice.number(3, 4) for _ in range(50)} == {3, 4}
