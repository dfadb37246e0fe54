"""Columns that the records hold by themselves, among them keys of the world: no model is needed."""

from collections.abc import Collection, Sequence

import torch

from stepopsd_agent.batch import Batch, Past, column_fields
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.learner.inferred_transitions import inferred_transitions
from stepopsd_agent.learner.task_history import TaskHistory
from stepopsd_agent.tasks import world_keys
from stepopsd_wrappers import Episode

TEXT_COLUMNS = frozenset({"text_key", "next_text_key", "inferred_transitions"})


def recorded_columns() -> frozenset[str]:
    """Names of the columns that records give without a model: read off them, their texts or earlier ones."""
    return (
        TEXT_COLUMNS | {"past"} | {name for name, spec in column_fields().items() if "read" in spec.metadata}
    )


def from_records(
    batch: Batch, episodes: Sequence[Episode], needs: Collection[str], history: TaskHistory | None = None
) -> Batch:
    """The batch with those of `TEXT_COLUMNS` and `past` that are needed; arguments as of `fill`."""
    if {"text_key", "next_text_key"}.intersection(needs):
        batch = with_text_keys(batch, episodes)
    if "inferred_transitions" in needs:
        found = inferred_transitions(episodes).to(batch.tokens.input_ids.device)
        batch = batch.with_columns(inferred_transitions=found)
    if "past" in needs:
        batch = batch.with_columns(past=known_past(batch, episodes, history))
    return batch


def known_past(batch: Batch, episodes: Sequence[Episode], history: TaskHistory | None) -> Past:
    """The past that a history knows.

    Raises:
        MissingColumnError: there is no history.
    """
    if history is None:
        raise MissingColumnError(
            "the column past needs a history: pass history=TaskHistory(method.needs) to fill, and call its "
            "add(batch, episodes) after every update"
        )
    return history.past(batch, episodes)


def with_text_keys(batch: Batch, episodes: Sequence[Episode]) -> Batch:
    """The batch with `text_key` and `next_text_key`.

    Args:
        batch: as `collate` makes it of `episodes`.
        episodes: the records, in the order of the batch.

    Raises:
        ValueError: an episode's environment is not registered.
    """
    if batch.steps.text_key is not None and batch.steps.next_text_key is not None:
        return batch
    keys = [world_keys(episode) for episode in episodes]
    owners = batch.steps.episode_of_step.tolist()
    places = list(zip(owners, batch.steps.index_in_episode.tolist(), strict=True))
    before = torch.tensor([keys[episode][index - 1] for episode, index in places])
    after = torch.tensor([keys[episode][index] for episode, index in places])
    device = batch.steps.index_in_episode.device
    return batch.with_columns(text_key=before.to(device), next_text_key=after.to(device))
