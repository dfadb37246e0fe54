"""Whether a run fits into the memory of its device, and if not, which settings make it fit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import weight_type
from stepopsd_agent.run.planning.plan import host_memory, memory_by_part
from stepopsd_agent.run.planning.playing import (
    Lengths,
    actor_parts,
    actors_beside,
    engine_needs,
    filled_gpus,
    longest_row,
)
from stepopsd_agent.run.planning.processes import process_host_memory, process_memory
from stepopsd_agent.run.planning.shapes import Shape, model_shape

GIB = 2**30
PROCESSES = (2, 4, 8)
"""Numbers of processes that are tried, where one does not fit."""
_RANK = 16
_DECODED = ("builtin", "ray")
"""Backends that draw with the built-in decoder, in slots that are halved where memory runs out."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Judged:
    """A plan that is held against the memory of its device.

    Attributes:
        config: settings of the run.
        needs: columns that the credit method reads.
        shape: of its model.
        lengths: of rows.
        processes: how many share the work.
        memory: of a device, in bytes; on a CPU of the machine that the processes share.
    """

    config: RunConfig
    needs: frozenset[str]
    shape: Shape
    lengths: Lengths
    processes: int
    memory: int

    @property
    def weight(self) -> torch.dtype:
        """Type of the computation."""
        return weight_type(self.config.model.dtype, self.config.device)

    @property
    def own_memory(self) -> int:
        """Bytes for one process."""
        return self.memory // (self.processes if self.config.device == "cpu" else 1)

    def most(self) -> int:
        """Bytes that one process has at most at once, with its other weights where these share the memory."""
        config, weight, shape = self.config, self.weight, self.shape
        sizes = (config, shape, self.lengths, weight.itemsize, self.needs)
        if config.learner.sharding != "none":
            host = sum(
                process_host_memory(config, shape, weight.itemsize, self.needs, self.processes).values()
            )
        else:
            host = host_memory(config, shape, weight.itemsize)
        if self.processes > 1 or config.learner.sharding != "none":
            parts = process_memory(*sizes, self.processes)
        else:
            parts = memory_by_part(*sizes, self.own_memory)
        return parts["at most at once"] + (host if config.device == "cpu" else 0)

    def least(self) -> int:
        """The same after slots and passes were halved as often as they can be where a GPU's memory runs out.

        Passes that several processes make together are not, nor is anything on a CPU, whose system ends the
        process instead.
        """
        config = self.config
        if config.device == "cpu":
            return self.most()
        if config.rollout.backend in _DECODED:
            config = replace(config, rollout=replace(config.rollout, slots=1))
        if config.learner.tokens_per_micro_batch == "auto" and config.learner.sharding == "none":
            config = replace(config, learner=replace(config.learner, tokens_per_micro_batch=1))
        return replace(self, config=config).most()

    def fits(self) -> bool:
        """Whether the memory is enough for the most there is."""
        return self.most() <= self.own_memory


def device_memory(device: str) -> int | None:
    """Bytes of a device's memory, or None where it is not here; of a CPU what a container may use of it."""
    if device != "cpu":
        here = torch.cuda.is_available()
        return int(torch.cuda.get_device_properties(device).total_memory) if here else None
    found = []
    for file in map(Path, _LIMITS):
        if file.is_file() and (limit := file.read_text(encoding="ascii").strip()).isdecimal():
            found.append(int(limit))
    if Path("/proc/meminfo").is_file():
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal")]
    return min(found, default=None)


def refusal(judged: Judged) -> str | None:
    """Why the run cannot fit, and what to change; None where it can."""
    engine = _engine_refusal(judged) or _actor_refusal(judged)
    if engine or judged.least() <= judged.own_memory:
        return engine
    least, most = judged.least(), judged.most()
    halved = (
        f" ({size(most)} at most, as it is set; {size(least)} with slots and passes halved as far as they go)"
    )
    return (
        f"this run cannot fit: {size(least)} are needed at least{halved * (least < most)}, and "
        f"{size(judged.own_memory)} are there{' for each process' * (judged.processes > 1)}; "
        + advice(judged)
    )


def advice(judged: Judged) -> str:
    """Which settings make a run fit that does not: each alone, or else several together."""
    alone = [(text, tried.most()) for text, tried in _remedies(judged) if tried.fits()]
    if alone:
        ways = "; ".join(f"{text} ({size(most)})" for text, most in alone)
        return f"each of these makes it fit: {ways}"
    texts, now = list[str](), judged
    while not now.fits():
        found = ((text, tried) for text, tried in _remedies(now) if tried.most() < now.most())
        text, tried = next(found, ("", None))
        if tried is None:
            least = (
                f"even with {' '.join(texts)} it takes" if texts else "no other setting makes it less than"
            )
            more = "choose a smaller model.path, or a device with more memory"
            return f"{least} {size(now.most())}: {more}"
        texts, now = [*texts, text], tried
    return f"these together make it fit: {' '.join(texts)} ({size(now.most())})"


def _remedies(judged: Judged) -> Iterator[tuple[str, Judged]]:
    """Settings that take less memory, harmless ones first; of each kind as little as is enough, or the most.

    The text is what to write on the command line.
    """
    config = judged.config
    learner, rollout = config.learner, config.rollout

    def changed(part: str, **fields: Any) -> Judged:
        of = replace(getattr(config, part), **fields)
        other = replace(judged, config=replace(config, **{part: of}))
        if fields.keys() & {"dtype", "lora"}:
            return replace(
                other, shape=model_shape(other.config.model, other.config.learner.lora, other.weight)
            )
        return other

    if not learner.gradient_checkpointing:
        yield "--learner.gradient_checkpointing true", changed("learner", gradient_checkpointing=True)
    if learner.sharding != "none":
        row = math.ceil(longest_row(config, judged.shape, judged.lengths))
        yield f"--learner.tokens_per_micro_batch {row}", changed("learner", tokens_per_micro_batch=row)
    elif learner.tokens_per_micro_batch != "auto":
        yield "--learner.tokens_per_micro_batch auto", changed("learner", tokens_per_micro_batch="auto")
    if rollout.backend in _DECODED and rollout.slots > 1:
        tried = [changed("rollout", slots=rollout.slots >> n) for n in range(1, rollout.slots.bit_length())]
        best = next((one for one in tried if one.fits()), tried[-1])
        yield f"--rollout.slots {best.config.rollout.slots}", best
    if config.device != "cpu" and judged.weight.itemsize > 2:
        yield "--model.dtype bfloat16", changed("model", dtype="bfloat16")
    if not learner.lora.rank:
        lora = replace(learner.lora, rank=_RANK)
        yield f"--learner.lora.rank {_RANK}", changed("learner", lora=lora)
    sharable = rollout.backend == "builtin" and not learner.muon_lr and "value" not in judged.needs
    if learner.sharding == "none" and config.device != "cpu" and sharable:
        shared = changed("learner", sharding="fsdp")
        several = [replace(shared, processes=n) for n in PROCESSES if n > judged.processes] or [shared]
        best = next((one for one in several if one.fits()), several[-1])
        yield f"--learner.sharding fsdp --processes {best.processes}", best
    if actors_beside(config):
        if config.device != "cpu":
            device = f"cuda:{filled_gpus(config)}"
            yield f"--device {device}", replace(judged, config=replace(config, device=device))
        yield "--rollout.backend builtin", changed("rollout", backend="builtin")
    if learner.sharding == "fsdp" and not learner.cpu_offload and config.device != "cpu":
        yield "--learner.cpu_offload true", changed("learner", cpu_offload=True)


def _engine_refusal(judged: Judged) -> str | None:
    """Why vLLM in this process would not start."""
    config, weight, shape = judged.config, judged.weight, judged.shape
    if not config.device.startswith("cuda") or config.rollout.backend != "vllm" or config.rollout.url:
        return None
    least = engine_needs(config, shape, judged.lengths, weight.itemsize)
    share = least / judged.own_memory
    if config.rollout.engine_memory >= share:
        return None
    row = longest_row(config, shape, judged.lengths)
    return (
        f"vLLM cannot start: its share rollout.engine_memory {config.rollout.engine_memory:g} is "
        f"{config.rollout.engine_memory * judged.own_memory / GIB:,.1f} GiB, and the weights and one row of "
        f"{row:,.0f} tokens take {least / GIB:,.1f} GiB; "
        + (
            f"set it to {min(1.0, share + 0.05):.2f} or more"
            if share < 1
            else "choose a smaller model.path or rollout.max_row_tokens"
        )
    )


def _actor_refusal(judged: Judged) -> str | None:
    """Why an actor of Ray would find no room on its part of a GPU, its slots halved as far as they go."""
    config, part = judged.config, judged.config.rollout.actor_gpus
    if config.device == "cpu" and part:
        return None  # the memory of their GPUs is not what was asked about
    one_slot = replace(config, rollout=replace(config.rollout, slots=1))
    parts = actor_parts(one_slot, judged.shape, judged.lengths, judged.weight.itemsize)
    if not parts or not part or parts["together"] <= min(part, 1) * judged.memory:
        return None
    return (
        f"an actor cannot fit: it needs {parts['together'] / GIB:,.1f} GiB with a single slot, and "
        f"rollout.actor_gpus {part:g} gives it {min(part, 1) * judged.memory / GIB:,.1f} GiB; raise that, or "
        "choose a smaller model.path"
    )


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.4g} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
