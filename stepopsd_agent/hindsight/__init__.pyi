from .by_step import Block as Block, Blocks as Blocks, block_tokens as block_tokens
from .other_modes import NEXT as NEXT, gold_text as gold_text
from .prompt import (
    CLOSE as CLOSE,
    OPEN as OPEN,
    PEER_CLOSE as PEER_CLOSE,
    PEER_OPEN as PEER_OPEN,
    block_ids as block_ids,
    choose_peers as choose_peers,
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
    untold_rows as untold_rows,
)
