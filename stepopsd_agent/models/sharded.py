"""A policy whose weights are shared out over processes: FSDP2 (`torch.distributed.fsdp.fully_shard`).

Every process holds a part of each weight, in full precision, with its gradient and moments; a layer is put
together, in the type of the computation, while a pass goes through it. Passes of all processes therefore keep
step, see `turn`. Play needs hundreds of small passes for one of learning, so for that time the whole network
is put together in every process, in the type of the computation and without anything else: see `player`.
Other weights of the network, such as the teacher's, are parts in host memory.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor
from torch.nn import Module, Parameter
from transformers.modeling_layers import GradientCheckpointingLayer

from stepopsd_agent.config import LoraConfig
from stepopsd_agent.models.lora import switched_off
from stepopsd_agent.models.policy import ModelFolderError, Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Sharding:
    """How a policy is shared out.

    Attributes:
        group: the processes; all of the run's.
        device: of this process.
        compute: type of the computation.
        offload: keep the parts, with gradients and moments, in host memory; for GPUs.
    """

    group: ProcessGroup
    device: torch.device
    compute: torch.dtype
    offload: bool = False

    @property
    def trained(self) -> torch.dtype:
        """The type in which weights are trained: float32 at least."""
        return torch.promote_types(self.compute, torch.float32)


class _Whole(Module):
    """A network whose forward pass is any work with it, so that passes may begin anywhere inside."""

    def __init__(self, network: Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[], T]) -> T:
        """Do the work while the weights outside the layers are whole."""
        return work()


class ShardedPolicy(Policy):
    """A policy of which each process holds a part.

    Attributes:
        how: the processes, and types.
    """

    def __init__(self, policy: Policy, how: Sharding, *, adapter: bool = False) -> None:
        """Take a policy on the CPU, equal in every process, and share it out.

        Args:
            policy: with weights of the trained type; those below an adapter of the computation's.
            how: the processes, and types.
            adapter: wait for `add_adapter`.
        """
        self.model, self.tokenizer, self.prompt_format = policy.model, policy.tokenizer, policy.prompt_format
        self.device, self.adapted, self.play = how.device, False, policy.play
        self.how = how
        self.__dict__["takes_packs"] = policy.takes_packs  # found out while the network is whole
        if not adapter:
            self._share_out()

    def add_adapter(self, config: LoraConfig, seed: int) -> None:
        """As `Policy.add_adapter`; then share out both."""
        super().add_adapter(config, seed)
        self._share_out()

    def _share_out(self) -> None:
        how = self.how
        self._player = self._hollow()
        narrow = how.compute if how.compute != how.trained else None
        offload = CPUOffloadPolicy() if how.offload and how.device.type == "cuda" else OffloadPolicy()
        mesh = DeviceMesh.from_group(how.group, how.device.type)
        precision = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=how.trained)
        self._whole = _Whole(self.model)
        layers = [module for module in self.model.modules() if isinstance(module, GradientCheckpointingLayer)]
        for module in (*layers, self._whole):
            fully_shard(module, mesh=mesh, mp_policy=precision, offload_policy=offload)
        for module in self._whole.modules():
            if isinstance(module, FSDPModule):  # gradients are sums, as token weights are of the whole batch
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        # FSDP looks at what is trained in the first pass, which may be one of the model without its adapter.
        self.read_only(lambda: None)

    def _hollow(self) -> Policy:
        """The policy to play with, without weights as yet."""
        how = self.how
        empty: dict[int, object] = {}
        for weight in self.model.parameters():
            narrow = how.compute if not self.adapted or not weight.requires_grad else how.trained
            empty[id(weight)] = Parameter(torch.empty(0, dtype=narrow), requires_grad=False)
        player = Policy(deepcopy(self.model, empty), self.tokenizer, str(how.device), self.prompt_format)
        player.adapted, player.play = self.adapted, self.play
        return player

    @contextmanager
    def player(self) -> Iterator[Policy]:
        """The whole policy in every process, as it is now, for as long as the `with` lasts."""
        pairs = list(zip(self.model.parameters(), self._player.model.parameters(), strict=True))
        try:
            for weight, plain in pairs:
                plain.data = self._gathered(weight, _part(weight), plain.dtype)
            yield self._player
        finally:
            for _, plain in pairs:
                plain.data = plain.data.new_empty(0)

    def whole(self, work: Callable[[], T]) -> T:
        """Do work that runs passes with gradients through the network; every process has to at once.

        The tensors that it returns carry the gradients.
        """
        done: T = self._whole(work)
        return done

    def read_only(self, work: Callable[[], T]) -> T:
        """As `whole`, without gradients."""
        with torch.inference_mode(False), torch.no_grad():
            done: T = self._whole(work)
        assert isinstance(self._whole, FSDPModule)
        self._whole.reshard()
        return done

    def turn(self, more: bool) -> bool:
        """Whether any process has another pass to run; all of them have to be asked, before each pass.

        A process without work then runs a pass of no effect, as the others need its part of each layer.
        """
        asked = torch.tensor(int(more))
        dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self.how.group)
        return bool(asked)

    def state(self) -> dict[str, Tensor]:
        """A copy in host memory of this process's parts of the weights that are trained."""
        return {name: _part(weight).cpu().clone() for name, weight in self._weights().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copy this process's parts in, from `state` or `own_parts`."""
        weights = self._weights()
        fit = weights.keys() == state.keys() and all(
            _part(weight).shape == state[name].shape for name, weight in weights.items()
        )
        if not fit:
            raise ModelFolderError("weights do not fit the parts of the model: differing names or shapes")
        with torch.no_grad():
            for name, weight in weights.items():
                _part(weight).copy_(state[name])

    @contextmanager
    def weights(self, state: dict[str, Tensor]) -> Iterator[None]:
        """As `Policy.weights`, with parts; the current ones wait in host memory."""
        if self.adapted and not state:
            with switched_off(self.model):
                yield
            return
        current = self.state()
        self.load_state(state)
        try:
            yield
        finally:
            self.load_state(current)

    def own_parts(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's parts of whole weights, for `load_state` and `weights`."""
        return {name: self.own_part(whole) for name, whole in state.items()}

    def own_part(self, whole: Tensor) -> Tensor:
        """This process's part of a whole tensor: some of its first dimension."""
        parts = whole.chunk(dist.get_world_size(self.how.group))
        rank = dist.get_rank(self.how.group)
        return parts[rank].clone() if rank < len(parts) else whole[:0].clone()

    def shared_out(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor, shared out as a weight of its shape is."""
        assert isinstance(like, DTensor)
        part = self.own_part(whole).to(_part(like).device)
        return self._joint(like, part)

    def whole_state(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights, in host memory of the first process, of the parts that every process has."""
        return self.on_first({name: (weight, parts[name]) for name, weight in self._weights().items()})

    def on_first(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Whole tensors in host memory of the first process; others get none.

        Args:
            parts: a tensor that is shared out in the same way, and the part of this process.
        """
        first, out = dist.get_rank(self.how.group) == 0, dict[str, Tensor]()
        for name, (like, part) in parts.items():
            whole = self._gathered(like, part, part.dtype)
            if first:
                out[name] = whole.cpu()
        return out

    def _gathered(self, like: Tensor, part: Tensor, dtype: torch.dtype) -> Tensor:
        """Put a tensor together in every process, on its device."""
        return self._joint(like, part.detach().to(self.device, dtype)).full_tensor()

    def _joint(self, like: Tensor, part: Tensor) -> DTensor:
        """A tensor that is shared out as a weight of its shape is, of the part of this process."""
        assert isinstance(like, DTensor)  # not in the middle of a pass
        mesh, places = like.device_mesh, like.placements
        return DTensor.from_local(part, mesh, places, run_check=False, shape=like.shape, stride=like.stride())


def _part(weight: Tensor) -> Tensor:
    """The part of a weight that this process holds; what is written to it is written to the weight."""
    assert isinstance(weight, DTensor)  # not in the middle of a pass
    part: Tensor = weight.to_local().detach()
    return part
