from .cloning import Example as Example, clone as clone, clone_loss as clone_loss, examples as examples
from .columns import (
    Cost as Cost,
    Sources as Sources,
    check_recorded as check_recorded,
    fill as fill,
)
from .critic import Critic as Critic
from .gold_answers import require_answers as require_answers, told_answers as told_answers
from .inferred_transitions import commands_of_group as commands_of_group
from .learner import Learner as Learner
from .mini_batches import teacher_rows as teacher_rows
from .mismatch import (
    corrected as corrected,
    mismatch_metrics as mismatch_metrics,
    mismatch_weights as mismatch_weights,
)
from .monte_carlo import FreshAttempts as FreshAttempts, monte_carlo_values as monte_carlo_values
from .optimizer_state import load_optimizer as load_optimizer, optimizer_tensors as optimizer_tensors
from .optimizers import (
    MasterWeights as MasterWeights,
    averaged as averaged,
    learning_rate_factor as learning_rate_factor,
    make_optimizers as make_optimizers,
)
from .recorded import (
    recorded_columns as recorded_columns,
)
from .sharded import ShardedLearner as ShardedLearner, ShardedScorer as ShardedScorer
from .task_history import TaskHistory as TaskHistory
