"""What the processes of a launcher share, by the settings: the work alone, or the model too."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from stepopsd_agent.config import Dtype, RunConfig
from stepopsd_agent.models import Policy, ShardedPolicy, Sharding, weight_type
from stepopsd_agent.run.parallel import ParallelRun, ParallelTrainer
from stepopsd_agent.run.processes import Processes
from stepopsd_agent.run.run import Run
from stepopsd_agent.run.trainer import Trainer

_NAMES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float64: "float64",
}


@dataclass(frozen=True)
class Shared:
    """How a run goes by several processes.

    Attributes:
        config: the settings, with the device of this process.
        loading: settings to load the model with.
        policy: makes of the loaded policy the one to train.
        trainer: makes the trainer.
        kind: of the run.
    """

    config: RunConfig
    loading: RunConfig
    policy: Callable[[Policy], Policy]
    trainer: Callable[..., Trainer]
    kind: type[Run]


def work_shared(config: RunConfig, processes: Processes) -> Shared:
    """How a run with these settings goes by these processes."""
    config = replace(config, device=processes.device)
    group = processes.group
    if config.learner.sharding == "none":
        plain = partial(ParallelTrainer, group=group)
        return Shared(config, config, lambda policy: policy, plain, ParallelRun)
    from stepopsd_agent.run.sharded import ShardedRun, ShardedTrainer

    compute, adapter = weight_type(config.model.dtype, config.device), bool(config.learner.lora.rank)
    how = Sharding(group, torch.device(config.device), compute, config.learner.cpu_offload)
    # Whole in host memory; each GPU gets its parts, layer by layer.
    loaded = _NAMES[compute if adapter else how.trained]
    loading = replace(config, device="cpu", model=replace(config.model, dtype=loaded))
    share_out = partial(ShardedPolicy, how=how, adapter=adapter)
    return Shared(config, loading, share_out, partial(ShardedTrainer, group=group), ShardedRun)
