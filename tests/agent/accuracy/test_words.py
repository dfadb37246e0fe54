"""The control that reads the kind of a command alone."""

from stepopsd_agent.accuracy.words import rarity
from stepopsd_wrappers import Episode, Step


def commands(group: int, *steps: tuple[str, str]) -> Episode:
    """A record of these kinds and actions."""
    first = Step("", "", "", 0.0, False, False, {"step": {"kind": "reset", "valid": True}})
    told = [
        Step("", "", action, 0.0, False, False, {"step": {"kind": kind, "valid": kind != "invalid"}})
        for kind, action in steps
    ]
    return Episode("", 0, group, 0, "task", 0, {}, "", (first, *told))


def test_a_command_that_is_seldom_given_is_rare_in_its_group_alone() -> None:
    """Three walks, one of them in the other attempt, and one thing taken; refused steps get nothing."""
    one = commands(0, ("act", "go to shelf 1"), ("act", "Go to desk 1"), ("act", "take cup 1 from desk 1"))
    other = commands(0, ("act", "go to desk 1"), ("invalid", "take cup 2 from desk 1"))
    apart = commands(1, ("act", "go to desk 1"))
    assert [credit.tolist() for credit in rarity([one, other, apart])] == [
        [1 / 3, 1 / 3, 1.0],
        [1 / 3, 0.0],
        [1.0],
    ]


def test_searches_are_of_one_kind_whatever_their_words() -> None:
    """Their first word says nothing about them."""
    asked = commands(0, ("search", "who wrote Emma"), ("search", "Emma author"), ("answer", "who"))
    assert rarity([asked])[0].tolist() == [0.5, 0.5, 1.0]


def test_an_empty_action_is_a_kind_of_its_own() -> None:
    """As an environment may accept it."""
    assert rarity([commands(0, ("act", ""), ("act", "go"))])[0].tolist() == [1.0, 1.0]
