from .backends import Backend as Backend
from .chat_client import ChatClient as ChatClient, Reply as Reply, ServedModelError as ServedModelError
from .decoder import (
    Decoder as Decoder,
    Sampled as Sampled,
)
from .demonstrations import (
    Demonstration as Demonstration,
    Turn as Turn,
    demonstrate as demonstrate,
    pieces as pieces,
)
from .divided import Divided as Divided
from .evaluation import (
    evaluate_policy as evaluate_policy,
    play_set as play_set,
    sampling_params as sampling_params,
)
from .failures import (
    FAILURE_LIMIT as FAILURE_LIMIT,
    EnvironmentDownError as EnvironmentDownError,
    Failures as Failures,
    reset_failed as reset_failed,
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
    LanguageModel as LanguageModel,
    rollout as rollout,
)
from .one_at_a_time import OneAtATime as OneAtATime, play_agent as play_agent
from .padded_decoder import (
    FILLED_SHARE as FILLED_SHARE,
    OPEN_COLUMNS as OPEN_COLUMNS,
    KeyValueCache as KeyValueCache,
    PaddedDecoder as PaddedDecoder,
)
from .playing import (
    LATER as LATER,
    Attempt as Attempt,
    BatchAgent as BatchAgent,
    Response as Response,
    Slot as Slot,
    begin as begin,
    play as play,
)
from .sampling import SamplingParams as SamplingParams, action_tokens as action_tokens
from .served_model import Request as Request, ServedModel as ServedModel, usage as usage
from .success import (
    describe as describe,
    headline as headline,
    joined as joined,
    played_data as played_data,
    success_table as success_table,
    table_text as table_text,
)
from .task_sets import (
    EVAL_SEED as EVAL_SEED,
    chosen_tasks as chosen_tasks,
    play_set_with as play_set_with,
)
