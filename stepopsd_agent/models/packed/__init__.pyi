from .attention import (
    CACHE_ROOM as CACHE_ROOM,
    SHARED_MASK as SHARED_MASK,
    RowCache as RowCache,
    pack_states as pack_states,
)
from .logprobs import (
    CHUNK_BYTES as CHUNK_BYTES,
    HALF as HALF,
    LogprobReader as LogprobReader,
    likeliest as likeliest,
    sampled as sampled,
    wide_logits as wide_logits,
)
from .packing import (
    Branch as Branch,
    Tree as Tree,
    common as common,
    pack_rows as pack_rows,
    pad_trees as pad_trees,
)
from .token_budget import (
    START as START,
    TokenBudget as TokenBudget,
    Tokens as Tokens,
    in_parts as in_parts,
    out_of_memory as out_of_memory,
)
