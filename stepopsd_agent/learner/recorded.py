"""Columns that the records give by themselves, among them keys of the world: no model is needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch, column_fields
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.learner.inferred_transitions import inferred_transitions
from stepopsd_agent.learner.lifted_plans import UNKNOWN, LiftedPlans
from stepopsd_agent.tasks import lifted_of, world_keys

if TYPE_CHECKING:
    from stepopsd_agent.learner.columns import Sources


def recorded_columns() -> frozenset[str]:
    """Names of the columns that `fill` gives without a policy: read off the records or computed from them."""
    return frozenset(
        name
        for name, spec in column_fields().items()
        if "read" in spec.metadata or not spec.metadata.get("model", True)
    )


def fill_past(batch: Batch, sources: "Sources") -> Batch:
    """The past that the history knows."""
    if sources.history is None:
        raise MissingColumnError(
            "the column past needs a history: pass history=TaskHistory(method.needs) to fill, and call its "
            "add(batch, episodes) after every update"
        )
    return batch.with_columns(past=sources.history.past(batch, sources.episodes))


def fill_inferred_transitions(batch: Batch, sources: "Sources") -> Batch:
    """Transitions that no attempt took, inferred from those taken."""
    transitions = inferred_transitions(sources.episodes)
    return batch.with_columns(inferred_transitions=transitions.to(batch.tokens.input_ids.device))


def fill_text_key(batch: Batch, sources: "Sources") -> Batch:
    """The world before and after every step, as the texts tell it."""
    if batch.steps.text_key is not None and batch.steps.next_text_key is not None:
        return batch
    before, after = _around(batch, [world_keys(episode) for episode in sources.episodes])
    return batch.with_columns(text_key=before, next_text_key=after)


fill_next_text_key = fill_text_key  # after every step: both come of one reading


def fill_lifted_distance(batch: Batch, sources: "Sources") -> Batch:
    """The distance to a goal before and after every step, as attempts at tasks of the same form tell it.

    Attempts of this batch and, where there is a history, of earlier updates.
    """
    if batch.steps.lifted_distance is not None and batch.steps.next_lifted_distance is not None:
        return batch
    told = [(lifted_of(episode), episode.success) for episode in sources.episodes]
    plans = LiftedPlans() if sources.history is None else sources.history.plans
    unknown = ([UNKNOWN] * len(episode.steps) for episode in sources.episodes)
    records = [known or none for known, none in zip(plans.distances(told), unknown, strict=True)]
    before, after = _around(batch, records)
    return batch.with_columns(lifted_distance=before, next_lifted_distance=after)


fill_next_lifted_distance = fill_lifted_distance


def _around(batch: Batch, records: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """[S] a number before and after every step, from those of each episode's records."""
    owners = batch.steps.episode_of_step.tolist()
    places = list(zip(owners, batch.steps.index_in_episode.tolist(), strict=True))
    before = torch.tensor([records[episode][index - 1] for episode, index in places])
    after = torch.tensor([records[episode][index] for episode, index in places])
    device = batch.steps.index_in_episode.device
    return before.to(device), after.to(device)
