"""The plans for forms of household tasks that are written by hand."""

from collections.abc import Sequence

import pytest

from benchmarks.credit import hand_plans, lifted_terms as terms
from stepopsd_agent.tasks.agents import ExpertAgent
from tests.benchmarks.test_lifted_controls import CLEAN, HELD, LOOK, SEEN, episodes_of

TWO = hand_plans.TWO
AT, DOOR = "at: target", "target's door: open"
WASHED, FIRST = "object 1's surface: clean", "object 1: in target"
LAMP, LIT = "target in sight: yes", "target's switch: on"


@pytest.mark.parametrize(
    ("form", "facts", "steps"),
    [
        (CLEAN, (), 2 + 2 + 3),  # fetch, treat, bring
        (CLEAN, (SEEN,), 1 + 2 + 3),
        (CLEAN, ("holding: other",), 1 + 2 + 2 + 3),  # put the other down first
        (CLEAN, (HELD,), 2 + 3),
        (CLEAN, (HELD, AT), 2 + 3),
        (CLEAN, (HELD, "tool at hand: yes"), 1 + 3),
        (CLEAN, (HELD, WASHED), 3),
        (CLEAN, (HELD, WASHED, AT), 2),
        (CLEAN, (HELD, WASHED, AT, DOOR), 1),
        (CLEAN, (WASHED, FIRST, AT, SEEN), 0),
        (CLEAN, (WASHED, AT, SEEN), 0),  # back in the target, where it lay at first
        (CLEAN, (FIRST, AT, SEEN), 1 + 2 + 3),  # put down there, but not clean
        (CLEAN, (WASHED, "object 1: in other"), 2 + 3),
        ("pick_and_place_simple", (HELD, AT, DOOR), 1),
        ("pick_and_place_simple", (FIRST,), 0),
        (TWO, (), 2 * (2 + 3)),
        (TWO, (HELD, AT), 2 + (2 + 3)),
        (TWO, (FIRST, AT, SEEN), 2 + 3),  # in sight is the one that was placed
        (TWO, (FIRST, SEEN), 1 + 3),
        (TWO, (FIRST, "object 2: in target"), 0),
        (LOOK, (), 2 + 1 + 1),  # fetch, go to the lamp, turn it on
        (LOOK, (SEEN, LAMP), 1 + 1),
        (LOOK, (HELD,), 1 + 1),
        (LOOK, (HELD, LAMP), 1),
        (LOOK, (HELD, LIT), 1),
        (LOOK, (HELD, LAMP, LIT), 0),
    ],
)
def test_plans_by_hand_count_the_steps_that_are_left(form: str, facts: Sequence[str], steps: int) -> None:
    """Fetch 2, or 1 in sight; treat 2; bring 3, of which 2 are left at the target, or 1 with an open door."""
    assert hand_plans.distance(form, frozenset(facts)) == steps


def test_experts_come_to_the_goal_of_the_plans() -> None:
    """Their last world has distance 0, none before it has, and no world is without a distance."""
    kinds = ["pick_and_place_simple", CLEAN, TWO, LOOK]
    won = [one for one in episodes_of(ExpertAgent(), range(8), kinds) if one.success]
    assert {one.form for one in terms.told_of(won)} == set(kinds)
    for told in terms.told_of(won):
        left = [hand_plans.distance(told.form, world) for world in told.worlds]
        assert left[-1] == 0 and min(left[:-1]) > 0


def test_points_are_for_the_events_that_they_name() -> None:
    """See, take, go to the target; with all events also clean and put down."""
    episode = episodes_of(ExpertAgent(), [0])[0]
    (told,) = terms.told_of([episode])
    few, all_of_them = (hand_plans.points(episode, told, more) for more in (False, True))
    verbs = [step.action.split()[0] for step in episode.steps[1:]]
    assert few[-1] == 0 and all_of_them[-1] == 1
    gained = [verb for verb, one, other in zip(verbs, few, all_of_them, strict=True) if one != other]
    assert sorted(gained) == ["clean", "move"]
    assert few[verbs.index("take")] == 1 and sum(few) >= 2
