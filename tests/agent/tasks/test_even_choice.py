"""A few tasks, evenly over their types."""

import pytest

from stepopsd_agent.tasks.alfworld import task_type_in
from stepopsd_agent.tasks.even_choice import evenly

IDS = [f"{kind}{number}" for kind, count in (("b", 5), ("a", 2), ("c", 9)) for number in range(count)]


def test_evenly_takes_types_in_turn() -> None:
    """Sorted by name; where one is used up the others go on; nothing twice."""
    chosen = evenly(IDS, 16, lambda one: one[0])
    assert "".join(one[0] for one in chosen) == "abcabcbcbcbccccc" and sorted(chosen) == sorted(IDS)


def test_evenly_depends_on_the_ids_alone() -> None:
    """Not on their order; fewer are the beginning of more; it is no prefix of the sorted list."""
    chosen = evenly(IDS, 6, lambda one: one[0])
    assert evenly(IDS[::-1], 9, lambda one: one[0])[:6] == chosen
    assert [one for one in chosen if one[0] == "c"] != ["c0", "c1"]
    with pytest.raises(ValueError, match="17 of 16 tasks are asked for; give at most 16"):
        evenly(IDS, 17, str)


@pytest.mark.parametrize(
    ("task_id", "kind"),
    [
        ("valid_seen/pick_two_obj_and_place-Mug-None-Desk-3/trial_T1", "pick_two_obj_and_place"),
        ("look_at_obj_in_light-Mug-None-DeskLamp-3/trial_T1", "look_at_obj_in_light"),
        ("elsewhere/a-game", ""),
    ],
)
def test_task_type_in_an_official_id(task_id: str, kind: str) -> None:
    """Read from the folder of the task; unknown elsewhere."""
    assert task_type_in(task_id) == kind
