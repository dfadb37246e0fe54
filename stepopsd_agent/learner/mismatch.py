"""What a run does about an engine that samples with other numbers than the learner computes.

The learner's own log-probabilities of the sampled tokens become the old ones (`fill(rescore_old=True)`), so
that ratios of the update start at 1; the engine's are kept in a column beside them, and their ratio weighs
the credit. None of this is done where the built-in decoder samples: it is the learner's own network.
"""

from dataclasses import replace

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch, ColumnSources, collate, register_column
from stepopsd_agent.config import LearnerConfig
from stepopsd_agent.credit import Credit, computed
from stepopsd_agent.ops import importance_ratios, masked, mismatch_figures, truncated


@register_column("tokens", torch.float32, model=False)
def engine_logprobs(batch: Batch, sources: ColumnSources) -> Tensor:
    """[N, T] log-probabilities (nats) as whoever sampled recorded them, zero elsewhere."""
    return collate(sources.episodes).tokens.old_logprobs.to(batch.tokens.input_ids.device)


def mismatch_weights(batch: Batch, config: LearnerConfig) -> Tensor:
    """[N, T] importance weights between engine and learner, 1 outside the action mask.

    Args:
        batch: its ``old_logprobs`` are the learner's, its column ``engine_logprobs`` the engine's.
        config: ``mismatch`` and its bounds.
    """
    engine = computed(batch.own.get("engine_logprobs"), "engine_logprobs")
    mask = batch.action_mask
    if config.mismatch == "none":
        return torch.ones_like(engine)
    steps = torch.where(mask, batch.tokens.step_of_token, -1) if config.mismatch_per == "step" else None
    learner = torch.where(mask, batch.tokens.old_logprobs.to(engine.dtype), engine)
    ratios = importance_ratios(learner, engine, steps)
    if config.mismatch == "truncate":
        return truncated(ratios, config.mismatch_cap)
    return masked(ratios, config.mismatch_low, config.mismatch_high)


def corrected(credit: Credit, batch: Batch, config: LearnerConfig) -> Credit:
    """The credit weighed by `mismatch_weights`: its advantages, and the weights of its further losses.

    All of them are means over tokens that the engine sampled. The KL term to the reference is not weighed.
    """
    weights = mismatch_weights(batch, config).to(credit.advantages.dtype)
    terms = tuple(replace(term, weights=term.weights * weights) for term in credit.terms)
    return replace(credit, advantages=credit.advantages * weights, terms=terms)


def mismatch_metrics(batch: Batch, config: LearnerConfig) -> dict[str, float]:
    """What is logged: `mismatch_figures`, and the share of tokens whose weight was bounded or left out."""
    engine = computed(batch.own.get("engine_logprobs"), "engine_logprobs")
    mask = batch.action_mask
    figures = mismatch_figures(batch.tokens.old_logprobs, engine.to(batch.tokens.old_logprobs.dtype), mask)
    if config.mismatch != "none":
        weights = mismatch_weights(batch, config)[mask]
        bound = weights >= config.mismatch_cap if config.mismatch == "truncate" else weights == 0
        figures["bounded"] = float(bound.double().mean())
    return {f"mismatch/{name}": value for name, value in figures.items()}
