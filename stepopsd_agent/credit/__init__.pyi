from .audit import audit_credit as audit_credit
from .base import (
    Credit as Credit,
    CreditMethod as CreditMethod,
    DistributionTerm as DistributionTerm,
    LossTerm as LossTerm,
    MissingColumnError as MissingColumnError,
    linear_decay as linear_decay,
    scaled as scaled,
)
from .registry import load as load, make as make, names as names, register as register
