from .decoder import (
    FILLED_SHARE as FILLED_SHARE,
    OPEN_COLUMNS as OPEN_COLUMNS,
    Decoder as Decoder,
    Sampled as Sampled,
)
from .demonstrations import (
    Demonstration as Demonstration,
    Turn as Turn,
    demonstrate as demonstrate,
    pieces as pieces,
)
from .evaluation import (
    EVAL_SEED as EVAL_SEED,
    chosen_tasks as chosen_tasks,
    evaluate_policy as evaluate_policy,
    play_set as play_set,
)
from .grouping import (
    episode_metrics as episode_metrics,
    group_ids as group_ids,
    groups as groups,
    mixed_groups as mixed_groups,
    sampled_tokens as sampled_tokens,
    valid_episodes as valid_episodes,
    whole_groups as whole_groups,
)
from .language_model import (
    Backend as Backend,
    LanguageModel as LanguageModel,
    action_tokens as action_tokens,
    rollout as rollout,
)
from .playing import (
    Attempt as Attempt,
    BatchAgent as BatchAgent,
    EnvironmentDownError as EnvironmentDownError,
    Failures as Failures,
    begin as begin,
    play as play,
    play_agent as play_agent,
)
from .sampling import SamplingParams as SamplingParams
from .success import (
    joined as joined,
    played_data as played_data,
    success_table as success_table,
    table_text as table_text,
)
