from .alarms import AlarmState as AlarmState, update_alarms as update_alarms
from .compared_records import (
    compare_records as compare_records,
    tells_progress as tells_progress,
    with_distances as with_distances,
)
from .comparison import compare_folders as compare_folders
from .display import PlainProgress as PlainProgress, Progress as Progress, progress as progress
from .jobs import Job as Job, ending as ending, last_words as last_words, run_jobs as run_jobs
from .kept_weights import asks_a_teacher as asks_a_teacher
from .processes import Processes as Processes, joined as joined
from .provenance import environment_facts as environment_facts
from .run import Interrupted as Interrupted, Run as Run, run_training as run_training
from .scored_records import (
    IN_TRAINING as IN_TRAINING,
    Grouping as Grouping,
    score_records as score_records,
    with_tokens_of_text as with_tokens_of_text,
)
from .sharing import work_shared as work_shared
from .sweep import (
    SweepRun as SweepRun,
    area as area,
    curve as curve,
    is_finished as is_finished,
    label as label,
    rows_text as rows_text,
    run_folder as run_folder,
    sweep_rows as sweep_rows,
    sweep_runs as sweep_runs,
    training_job as training_job,
)
from .trainer import Trainer as Trainer
from .warm_start import warmstart as warmstart
