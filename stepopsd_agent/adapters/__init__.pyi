from .crediting import Crediting as Crediting
from .openenv_serving import openenv_app as openenv_app
from .trl_credit import StepCredit as StepCredit
from .trl_rollouts import TRLRollouts as TRLRollouts
from .trl_tools import (
    CommandTools as CommandTools,
    QuestionTools as QuestionTools,
    environment_factory as environment_factory,
    tool_rows as tool_rows,
)
from .verifiers_plugin import verifiers_classes as verifiers_classes
from .verl_credit import (
    estimator as estimator,
    outcome_batch as outcome_batch,
    outcome_methods as outcome_methods,
    record_advantages as record_advantages,
    register_estimators as register_estimators,
)
from .verl_rows import verl_tasks as verl_tasks
