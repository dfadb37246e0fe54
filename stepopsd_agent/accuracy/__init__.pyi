from .entry import SKIPPED as SKIPPED, Entry as Entry, entries as entries
from .judging import (
    attainable as attainable,
    ceiling as ceiling,
    differences as differences,
    figures as figures,
    split as split,
)
from .measures import (
    Array as Array,
    Measure as Measure,
    Sums as Sums,
    auc as auc,
    correlation as correlation,
    mean as mean,
    ranked_pairs as ranked_pairs,
    share as share,
)
from .per_step import CONTROLS as CONTROLS, control_credit as control_credit, step_credit as step_credit
from .picture import draw_accuracy as draw_accuracy
from .table import (
    LABELS as LABELS,
    about as about,
    controls as controls,
    differences_text as differences_text,
    heading as heading,
    row as row,
    table_text as table_text,
)
from .truth import (
    Judged as Judged,
    Values as Values,
    judged as judged,
    progress as progress,
    read_values as read_values,
)
from .within_state import average_ranks as average_ranks, optimal_q as optimal_q, spearman as spearman
