"""The plan of a run by several processes: what each holds, and where every copy of the weights lives."""

from dataclasses import replace

import torch

from stepopsd_agent.config import RunConfig
from stepopsd_agent.run.kept_weights import kept_weights
from stepopsd_agent.run.planning.plan import TAUGHT, memory_by_part
from stepopsd_agent.run.planning.playing import Lengths, filled_slots, playing_parts
from stepopsd_agent.run.planning.shapes import Shape

_WHOLE = ("weights", "full-precision copies", "gradients", "gradients of a pass", "optimizer")
"""Parts of the plan of one process that several share out."""
_TOGETHER = 2
"""Layers that are put together at once: the one that computes, and the next."""


def own_work(config: RunConfig, processes: int) -> RunConfig:
    """The settings with the tasks that one of the processes plays and learns from, and its slots, at most."""
    tasks, slots = -(-config.rollout.tasks // processes), filled_slots(config, processes)
    return replace(config, rollout=replace(config.rollout, tasks=tasks, slots=slots))


def process_memory(
    config: RunConfig,
    shape: Shape,
    lengths: Lengths,
    bytes_per_weight: int,
    needs: frozenset[str],
    processes: int,
) -> dict[str, int]:
    """Bytes on the device of one process, as `memory_by_part` gives them for one that is alone."""
    parts = memory_by_part(own_work(config, processes), shape, lengths, bytes_per_weight, needs)
    if own := parts.get(TAUGHT[0], 0):  # every process has those of the whole batch
        parts[TAUGHT[0]] = memory_by_part(config, shape, lengths, bytes_per_weight, needs)[TAUGHT[0]]
        parts["at most at once"] += parts[TAUGHT[0]] - own
    if config.learner.sharding == "none":
        return parts
    lora, full = bool(config.learner.lora.rank), max(4, bytes_per_weight)
    passing = {name: size for name, size in parts.items() if name not in (*_WHOLE, "at most at once")}
    held = {} if config.learner.cpu_offload else held_parts(config, shape, bytes_per_weight, processes)
    layer, outside = shape.body / shape.layers, shape.parameters - shape.body
    learning = shape.trained / shape.layers if lora else layer + outside
    together = {
        "layers put together": (_TOGETHER * layer + outside) * bytes_per_weight,
        "gradients of a layer, before they are shared out": learning * (bytes_per_weight + full),
        "the whole model, to play": shape.parameters * bytes_per_weight + (shape.trained * 4 if lora else 0),
    }
    playing = {*playing_parts(config, shape, lengths, bytes_per_weight, None), "the whole model, to play"}
    every = {**held, **together, **passing}
    most = max(
        sum(size for name, size in every.items() if name not in held and (name in playing) == play)
        for play in (False, True)
    )
    whole = {name: round(size) for name, size in every.items()}
    return {**whole, "at most at once": round(sum(held.values()) + most)}


def held_parts(config: RunConfig, shape: Shape, bytes_per_weight: int, processes: int) -> dict[str, float]:
    """Bytes of what a process holds of a model that is shared out, all the time."""
    full = max(4, bytes_per_weight)
    below = shape.parameters * bytes_per_weight if config.learner.lora.rank else 0
    return {
        "parts of the weights": (below + shape.trained * full) / processes,
        "parts of the gradients": shape.trained * full / processes,
        "parts of the moments": 2 * shape.trained * full / processes,
    }


def process_host_memory(
    config: RunConfig, shape: Shape, bytes_per_weight: int, needs: frozenset[str], processes: int
) -> dict[str, int]:
    """Bytes in host memory of one process whose model is shared out; a checkpoint's in that of the first."""
    full, kept = max(4, bytes_per_weight), len(_copies(config, needs))
    offloaded = held_parts(config, shape, bytes_per_weight, processes) if config.learner.cpu_offload else {}
    waiting = (kept + 1) * shape.trained * full / processes if kept else 0
    wide = shape.parameters * (bytes_per_weight if config.learner.lora.rank else full)
    parts = {
        **{f"{name}, in host memory": size for name, size in offloaded.items()},
        "copies on the host, of each process": waiting,
        "while it is loaded, of each process": wide,
        "copies for a checkpoint, on the host of the first process": (3 + kept) * shape.trained * full,
    }
    return {name: round(size) for name, size in parts.items() if size}


def _copies(config: RunConfig, needs: frozenset[str]) -> frozenset[str]:
    """Other weights that a run keeps; with an adapter the first ones are the model without it."""
    kept = kept_weights(config, needs)
    return kept - {"initial"} if config.learner.lora.rank else kept


def places(config: RunConfig, weight: torch.dtype, needs: frozenset[str], processes: int) -> dict[str, str]:
    """Where every copy of the weights lives, in words.

    Args:
        config: of the run.
        weight: type of the computation.
        needs: columns that the credit method reads.
        processes: how many.
    """
    learner, lora = config.learner, bool(config.learner.lora.rank)
    sharded, name = learner.sharding == "fsdp", str(weight).removeprefix("torch.")
    trained = str(torch.promote_types(weight, torch.float32)).removeprefix("torch.")
    part = f"1/{processes} in each process"
    device = "host memory" if learner.cpu_offload else "its device"
    what = "adapter" if lora else "weights"
    held = f"{part}, on {device}" if sharded else f"whole in each of {processes} processes, on its device"
    other = f"{part}, in host memory" if sharded else "whole in each process, in host memory"
    kept = kept_weights(config, needs)
    rows = {
        f"{what} being trained, gradients, moments": f"{held}, {trained}",
        **({"weights below the adapter": f"{held}, {name}"} if lora else {}),
        "weights of a pass of update and scoring": (
            f"layer by layer, put together on each device, {name}" if sharded else "those being trained"
        ),
        "weights to play with": (
            f"whole in each process, on its device, only while it plays, {name}" if sharded else "the same"
        ),
    }
    if "initial" in kept:
        rows["weights at the start (reference, first teacher)"] = (
            "the model without its adapter" if lora else other
        )
    if "teacher" in kept:
        rows["weights of the teacher"] = other
    gathered = "gathered " if sharded else ""
    rows["checkpoint"] = f"whole, {gathered}in host memory of the first process, which writes it"
    return rows
