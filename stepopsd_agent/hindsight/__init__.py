"""The hindsight teacher: its context, and its log-probabilities of the sampled tokens."""

from stepopsd_agent.hindsight.prompt import block_ids, choose_peers, hindsight_blocks, hindsight_words
from stepopsd_agent.hindsight.teacher import batch_logprobs, batch_topk, gap_metrics, row_tree, step_ranges

__all__ = [
    "batch_logprobs",
    "batch_topk",
    "block_ids",
    "choose_peers",
    "gap_metrics",
    "hindsight_blocks",
    "hindsight_words",
    "row_tree",
    "step_ranges",
]
