from .alarms import AlarmState as AlarmState, update_alarms as update_alarms
from .display import Progress as Progress, progress as progress
from .provenance import environment_facts as environment_facts
from .run import Interrupted as Interrupted, Run as Run, run_training as run_training
from .scored_records import score_records as score_records, with_tokens_of_text as with_tokens_of_text
from .trainer import Trainer as Trainer
from .warm_start import warmstart as warmstart
