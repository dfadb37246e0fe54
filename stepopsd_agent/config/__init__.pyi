from .alarms import AlarmConfig as AlarmConfig, AlarmsConfig as AlarmsConfig, Consequence as Consequence
from .environment import EnvConfig as EnvConfig, EvalConfig as EvalConfig
from .learning import (
    Aggregation as Aggregation,
    Attention as Attention,
    CriticConfig as CriticConfig,
    LearnerConfig as LearnerConfig,
    LoraConfig as LoraConfig,
    ScheduleConfig as ScheduleConfig,
    UpdateConfig as UpdateConfig,
)
from .limits import at_least as at_least, check_kind as check_kind, check_values as check_values
from .named import recipe as recipe, recipe_names as recipe_names, recipes_near as recipes_near
from .run import (
    Chat as Chat,
    Dtype as Dtype,
    HindsightConfig as HindsightConfig,
    HindsightMode as HindsightMode,
    ModelConfig as ModelConfig,
    PeerFor as PeerFor,
    PenaltyOn as PenaltyOn,
    Position as Position,
    RolloutConfig as RolloutConfig,
    RunConfig as RunConfig,
    WarmstartConfig as WarmstartConfig,
    check_hindsight as check_hindsight,
    config_from_dict as config_from_dict,
    config_to_dict as config_to_dict,
)
from .serving import OpenAIConfig as OpenAIConfig
from .tracking import TRACKERS as TRACKERS, chosen_trackers as chosen_trackers
