"""Shorten prompts that exceed the room for a row: the oldest history is dropped first."""

import warnings

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.playing import Slot
from stepopsd_wrappers import find_wrapper
from stepopsd_wrappers.text_history import TextHistory


def shortened_ids(policy: Policy, slot: Slot, room: int) -> list[int]:
    """Return the ids of the slot's prompt, shortened to ``room`` tokens, and count it in ``policy.play``.

    If even the task alone is too long, its middle is dropped, with a warning.
    """
    prompt_format = policy.prompt_format
    policy.play.shortened += 1
    history = find_wrapper(slot.env, TextHistory)
    text = slot.observation
    if history is not None:
        text = history.shortened(lambda prompt: len(prompt_format.first_ids(prompt)) <= room)
    ids = prompt_format.first_ids(text)
    if len(ids) <= room:
        return ids
    warnings.warn(
        f"the task {slot.attempt.task_id!r} alone takes {len(ids)} tokens; a prompt may have {room}, so "
        "its middle is left out; raise rollout.max_row_tokens or lower rollout.max_tokens",
        RuntimeWarning,
        stacklevel=2,
    )
    return [*ids[: room - room // 2], *ids[len(ids) - room // 2 :]]
