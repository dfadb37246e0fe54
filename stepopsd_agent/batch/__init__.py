"""The batch: three linked tables of tokens, steps and episodes, made from records and audited."""

from stepopsd_agent.batch.batch import (
    KINDS,
    Batch,
    EpisodeRow,
    Episodes,
    StepRow,
    Steps,
    TokenRow,
    Tokens,
    TopK,
    collate,
)

__all__ = [
    "KINDS",
    "Batch",
    "EpisodeRow",
    "Episodes",
    "StepRow",
    "Steps",
    "TokenRow",
    "Tokens",
    "TopK",
    "collate",
]
