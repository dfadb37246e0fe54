from .crediting import Crediting as Crediting
from .trl_credit import StepCredit as StepCredit
from .trl_rollouts import TRLRollouts as TRLRollouts
from .trl_tools import (
    CommandTools as CommandTools,
    QuestionTools as QuestionTools,
    environment_factory as environment_factory,
    tool_rows as tool_rows,
)
