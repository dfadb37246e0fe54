"""A few of the tasks of a set, evenly over their types and the same few every time."""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from stepopsd_envs.step_info import text_hash


def evenly(ids: Sequence[str], count: int, kind: Callable[[str], str]) -> list[str]:
    """So many of the ids, in turn one of each type; when a type is used up the others go on.

    The types take turns in sorted order, and the tasks of a type come in the order of a hash of their ids:
    sorted ids begin with several trials of one household task. The choice depends on nothing else, and a
    smaller one is the beginning of a larger one.

    Args:
        ids: of all tasks.
        count: how many to choose.
        kind: the type of a task by its id.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(ids):
        raise ValueError(f"{count} of {len(ids)} tasks are asked for; give at most {len(ids)}")
    by_kind: dict[str, list[str]] = {}
    for task_id in sorted(ids, key=lambda one: (text_hash(one), one)):
        by_kind.setdefault(kind(task_id), []).append(task_id)
    turns = zip_longest(*(by_kind[name] for name in sorted(by_kind)))
    return [task_id for turn in turns for task_id in turn if task_id is not None][:count]
