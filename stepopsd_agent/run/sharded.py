"""A run whose processes hold a part of the model each, and checkpoints that know nothing of it.

A checkpoint has the files that one process would write: whole weights, put together in the first process's
host memory one by one. So it can be continued by any number of processes, sharing the model or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from stepopsd_agent.learner import ShardedLearner, ShardedScorer
from stepopsd_agent.models import Policy, ShardedPolicy
from stepopsd_agent.rollout import Divided
from stepopsd_agent.run.files.checkpoint import Tensors
from stepopsd_agent.run.parallel import ParallelRun, ParallelTrainer

KEPT = ("teacher", "initial")
"""Other weights of the network that a checkpoint may hold."""
OPTIMIZER = "optimizer_"
"""Begins the names of files of moments; what is neither these nor weights every process has whole."""


class ShardedTrainer(ParallelTrainer):
    """A trainer of a `ShardedPolicy`."""

    kind = ShardedLearner

    def __post_init__(self) -> None:
        """Play with the whole policy, score and learn with its parts."""
        super().__post_init__()
        assert self.group is not None and isinstance(self.policy, ShardedPolicy)
        policy = self.policy
        self.backend = Divided(self.group, player=lambda _: policy.player())
        self.scorer = ShardedScorer(self.scorer, self.group)


@dataclass
class ShardedRun(ParallelRun):
    """A run with a `ShardedTrainer`."""

    @property
    def policy(self) -> ShardedPolicy:
        """The policy of which this process holds a part."""
        policy = self.trainer.policy
        assert isinstance(policy, ShardedPolicy)
        return policy

    def save(self, state: dict[str, Any], tensors: Tensors) -> None:
        """As `Run.save`, of whole tensors."""
        super().save(state, whole_tensors(self.policy, tensors))

    def restore(self, tensors: Tensors, state: dict[str, Any]) -> None:
        """As `Run.restore`, of this process's parts."""
        super().restore(own_tensors(self.policy, tensors), state)

    def finish(self, method_name: str, policy: Policy) -> dict[str, Any]:
        """As `Run.finish`, of the whole policy."""
        with self.policy.player() as player:
            return super().finish(method_name, player)


def whole_tensors(policy: ShardedPolicy, tensors: Tensors) -> Tensors:
    """What one process would write, in the first process, of the parts that every process has.

    Args:
        policy: whose weights they are.
        tensors: as `trainer_tensors` gives them.
    """
    out: Tensors = {}
    for file, parts in tensors.items():
        if file == "model" or file in KEPT:
            out[file] = policy.whole_state(parts) if parts else {}
        else:
            shared = {name: (p, p.to_local()) for name, p in parts.items() if isinstance(p, DTensor)}
            out[file] = {name: p for name, p in parts.items() if name not in shared} | policy.on_first(shared)
    if policy.how.compute != policy.how.trained and not policy.adapted:
        # One process has a model in half precision, and full-precision copies by number.
        copies = out["model"]
        out["masters"] = {str(number): copy for number, copy in enumerate(copies.values())}
        out["model"] = {name: copy.to(policy.how.compute) for name, copy in copies.items()}
    return out


def own_tensors(policy: ShardedPolicy, tensors: Tensors) -> Tensors:
    """The parts of this process, of a checkpoint's whole tensors."""
    out = dict(tensors)
    copies = out.pop("masters", None)
    if copies and not policy.adapted:
        names = list(policy.state())
        out["model"] = {name: copies[str(number)] for number, name in enumerate(names)}
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    for file, whole in out.items():
        if file == "model" or file in KEPT:
            out[file] = policy.own_parts(whole)
        elif file.startswith(OPTIMIZER):
            out[file] = _moments(policy, weights, whole)
    return out


def _moments(
    policy: ShardedPolicy, weights: list[torch.nn.Parameter], whole: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """An optimizer's tensors, those that are as large as their weight shared out as it is."""
    out = dict[str, Tensor]()
    for name, tensor in whole.items():
        like = weights[int(name.partition(".")[0])]
        out[name] = policy.shared_out(tensor, like) if tensor.shape == like.shape and like.ndim else tensor
    return out
