from .crediting import Crediting as Crediting
from .trl_credit import StepCredit as StepCredit
from .trl_rollouts import TRLRollouts as TRLRollouts
