from .divided import DividedScorer as DividedScorer
from .hub import hub_problem as hub_problem
from .loading import (
    check_configuration as check_configuration,
    load_policy as load_policy,
    weight_type as weight_type,
)
from .lora import merged_weights as merged_weights
from .play_limits import PlayLimits as PlayLimits
from .policy import (
    ModelFolderError as ModelFolderError,
    Policy as Policy,
    check_policy as check_policy,
)
from .prompt_format import PromptFormat as PromptFormat, make_format as make_format
from .scoring import Scorer as Scorer, recomputed_layers as recomputed_layers
from .self_check import model_problems as model_problems
from .sharded import ShardedPolicy as ShardedPolicy, Sharding as Sharding
from .tiny import tiny_policy as tiny_policy, tiny_shape as tiny_shape
from .tiny_tokenizer import (
    FindNames as FindNames,
    capitalised as capitalised,
    numbered as numbered,
    train_tokenizer as train_tokenizer,
)
