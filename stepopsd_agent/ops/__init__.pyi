from . import distillation as distillation, losses as losses
from .intervals import (
    clustered_proportion as clustered_proportion,
    mean_interval as mean_interval,
    proportion as proportion,
    wilson as wilson,
)
from .mismatch import (
    importance_ratios as importance_ratios,
    masked as masked,
    mismatch_figures as mismatch_figures,
    truncated as truncated,
)
from .paired import (
    bootstrap_difference as bootstrap_difference,
    holm as holm,
    newcombe as newcombe,
    sign_test as sign_test,
)
from .reductions import (
    differ as differ,
    discounted_so_far as discounted_so_far,
    discounted_to_go as discounted_to_go,
    following as following,
    group_count as group_count,
    group_mean as group_mean,
    group_std as group_std,
    joined_ids as joined_ids,
    levelled as levelled,
    masked_mean as masked_mean,
    mixed as mixed,
    preceding as preceding,
    spread_steps as spread_steps,
    standardised as standardised,
    step_count as step_count,
    step_mean as step_mean,
    whiten as whiten,
)
