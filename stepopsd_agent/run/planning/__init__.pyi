from .device_speed import measured_rates as measured_rates
from .fitting import device_memory as device_memory
from .lengths import expected_lengths as expected_lengths
from .plan import (
    memory_by_part as memory_by_part,
    pass_flops as pass_flops,
    update_passes as update_passes,
)
from .playing import Lengths as Lengths, longest_row as longest_row
from .report import plan_text as plan_text
from .shapes import model_configuration as model_configuration, model_shape as model_shape
