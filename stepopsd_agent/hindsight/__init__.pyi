from .prompt import (
    CLOSE as CLOSE,
    NEXT as NEXT,
    OPEN as OPEN,
    PEER_CLOSE as PEER_CLOSE,
    PEER_OPEN as PEER_OPEN,
    Block as Block,
    Blocks as Blocks,
    block_ids as block_ids,
    block_tokens as block_tokens,
    choose_peers as choose_peers,
    gold_text as gold_text,
    hindsight_blocks as hindsight_blocks,
    hindsight_words as hindsight_words,
    outcome_text as outcome_text,
)
from .teacher import (
    batch_logprobs as batch_logprobs,
    batch_topk as batch_topk,
    gap_metrics as gap_metrics,
    row_tree as row_tree,
    step_ranges as step_ranges,
)
