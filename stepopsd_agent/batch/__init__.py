"""The batch: three linked tables of tokens, steps and episodes, made from records and audited."""

from stepopsd_agent.batch.audit import AuditError, AuditReport, audit
from stepopsd_agent.batch.batch import (
    KINDS,
    Batch,
    Episodes,
    Steps,
    Tokens,
    TopK,
    column_fields,
    columns,
    owner,
)
from stepopsd_agent.batch.collate import (
    batch_from_lists,
    collate,
    group_numbers,
    penalise_invalid,
    sampled_steps,
)
from stepopsd_agent.batch.spans import SPANS, Span, kind_masks, place_in_step, span_mask

__all__ = [
    "KINDS",
    "SPANS",
    "AuditError",
    "AuditReport",
    "Batch",
    "Episodes",
    "Span",
    "Steps",
    "Tokens",
    "TopK",
    "audit",
    "batch_from_lists",
    "collate",
    "column_fields",
    "columns",
    "group_numbers",
    "kind_masks",
    "owner",
    "penalise_invalid",
    "place_in_step",
    "sampled_steps",
    "span_mask",
]
