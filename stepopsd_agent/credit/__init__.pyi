from .audit import audit_credit as audit_credit, check_credit as check_credit
from .base import (
    Claim as Claim,
    Credit as Credit,
    CreditMethod as CreditMethod,
    DistributionTerm as DistributionTerm,
    LossTerm as LossTerm,
    MissingColumnError as MissingColumnError,
    check_choice as check_choice,
    check_range as check_range,
    computed as computed,
    linear_decay as linear_decay,
    scaled as scaled,
)
from .grpo import step_scores as step_scores
from .registry import load as load, make as make, names as names, register as register
from .state_graph import (
    Key as Key,
    StateGraph as StateGraph,
    key_columns as key_columns,
    merged_graph as merged_graph,
    nearer as nearer,
)
from .whole_episodes import check_whole as check_whole
