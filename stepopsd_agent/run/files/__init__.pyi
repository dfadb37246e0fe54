from .atomic import (
    check_can_make as check_can_make,
    write_bytes_atomic as write_bytes_atomic,
    write_json_atomic as write_json_atomic,
)
from .checkpoint import (
    latest_checkpoint as latest_checkpoint,
    load_checkpoint as load_checkpoint,
    save_checkpoint as save_checkpoint,
)
from .curve import plot_curve as plot_curve, plot_curves as plot_curves
from .metrics_log import evaluations as evaluations, read_rows as read_rows
from .model_folder import save_model as save_model
