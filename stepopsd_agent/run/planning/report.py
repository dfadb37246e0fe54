"""A plan as text: memory, tokens and time to expect of a training run."""

from dataclasses import dataclass

import torch

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import weight_type
from stepopsd_agent.run.display import duration
from stepopsd_agent.run.planning.device_speed import measured_rates
from stepopsd_agent.run.planning.fitting import Judged, advice, device_memory, refusal, size
from stepopsd_agent.run.planning.plan import (
    SHARE_OF_RATE,
    Rates,
    checkpoint_memory,
    host_memory,
    memory_by_part,
    seconds_by_part,
    tokens_by_part,
    uncounted,
    without,
)
from stepopsd_agent.run.planning.playing import Lengths, actor_parts
from stepopsd_agent.run.planning.processes import (
    own_work,
    places,
    process_host_memory,
    process_memory,
)
from stepopsd_agent.run.planning.shapes import Shape, model_shape


@dataclass(frozen=True)
class _Planned:
    """Everything that the figures are made from."""

    config: RunConfig
    needs: frozenset[str]
    shape: Shape
    lengths: Lengths
    weight: torch.dtype
    processes: int
    memory: int | None

    @property
    def shared(self) -> bool:
        """Whether several processes make the run, or one that shares out its model."""
        return self.processes > 1 or self.config.learner.sharding != "none"


def plan_text(
    config: RunConfig,
    needs: frozenset[str],
    expected: tuple[Lengths, list[str]],
    *,
    rate: float | None = None,
    bandwidth: float | None = None,
    processes: int = 1,
    memory: float | None = None,
) -> tuple[str, str | None]:
    """The plan of a run, and why the run cannot fit into the memory of its device, if so.

    Args:
        config: its settings.
        needs: columns that the credit method reads.
        expected: lengths of an update and what they rest on, as `expected_lengths` gives them.
        rate: matmul rate of the device in TFLOP/s; measured when absent and the device is here.
        bandwidth: of its memory in GB/s; likewise.
        processes: how many share the work, and with learner.sharding the model.
        memory: of the device in GiB; found out when absent and the device is here, or else not judged.
    """
    weight = weight_type(config.model.dtype, config.device)
    shape = model_shape(config.model, config.learner.lora, weight)
    lengths, basis = expected
    have = device_memory(config.device) if memory is None else round(memory * 2**30)
    planned = _Planned(config, needs, shape, lengths, weight, processes, have)
    of_each = f" of each of {processes} processes" if planned.shared else ""
    where = {"where each copy of the weights lives": places(config, weight, needs, processes)}
    judged = None if have is None else Judged(config, needs, shape, lengths, processes, have)
    text = "\n".join(
        [
            _model_line(planned),
            "\n".join(["assumptions:", *(f"  {line}" for line in basis)]),
            _table(f"memory on the device{of_each}", _memory(planned)),
            *(_table(title, rows, left=True) for title, rows in where.items() if planned.shared),
            *_actors(planned),
            _room(config.device, judged),
            _table(f"tokens per update, at most{without(uncounted(needs))}", _tokens(planned)),
            _time(planned, rate, bandwidth),
        ]
    )
    return text, None if judged is None else refusal(judged)


def _model_line(p: _Planned) -> str:
    shape = p.shape
    trained = "" if shape.trained == shape.parameters else f", {shape.trained / 1e6:,.1f} M of them trained"
    return (
        f"{p.config.model.path}: {shape.parameters / 1e6:,.1f} M parameters in {p.weight}{trained}; "
        f"{shape.layers} layers of width {shape.hidden}"
    )


def _memory(p: _Planned) -> dict[str, str]:
    sizes = (p.config, p.shape, p.lengths, p.weight.itemsize, p.needs)
    if p.config.learner.sharding != "none":
        host_parts = process_host_memory(p.config, p.shape, p.weight.itemsize, p.needs, p.processes)
        rows = {**process_memory(*sizes, p.processes), **host_parts}
        return {name: size(count) for name, count in rows.items()}
    parts = process_memory(*sizes, p.processes) if p.shared else memory_by_part(*sizes, p.memory)
    host = host_memory(p.config, p.shape, p.weight.itemsize)
    saved = checkpoint_memory(p.config, p.shape, p.weight.itemsize, p.needs)
    rows = {**parts, "copies on the host": host, "copies for a checkpoint, on the host": saved}
    return {name: size(count) for name, count in rows.items()}


def _actors(p: _Planned) -> list[str]:
    parts = actor_parts(p.config, p.shape, p.lengths, p.weight.itemsize)
    title = f"memory of each of {p.config.rollout.actors} actors"
    return [_table(title, {name: size(count) for name, count in parts.items()})] if parts else []


def _room(device: str, judged: Judged | None) -> str:
    """What the plan is held against."""
    if judged is None:
        return f"whether this fits: {device} is not here to be asked; give --memory GIB"
    shared = ", of all processes together" if device == "cpu" and judged.processes > 1 else ""
    line = f"memory there is on {device}{shared}: {size(judged.memory)}"
    each = " of each process" * (judged.processes > 1)
    if refusal(judged) is None and judged.fits():
        needs, there = size(judged.most()), size(judged.own_memory)
        line += f"\n  this fits: at most {needs}{each} at once, and {there} are there"
    elif judged.least() <= judged.own_memory < judged.most():
        least = size(judged.least())
        line += f"\n  fits only with slots and passes halved as memory runs out, down to {least}; "
        line += advice(judged)
    return line


def _tokens(p: _Planned) -> dict[str, str]:
    parts = tokens_by_part(p.config, p.needs, p.lengths)
    rounds = p.config.rollout.max_rounds
    more = {"playing, if no group ever varies": f"times {rounds}"} if rounds > 1 else {}
    return {**{name: f"{count:,}" for name, count in parts.items()}, **more}


def _time(p: _Planned, rate: float | None, bandwidth: float | None) -> str:
    rates, basis = _rates(p, rate, bandwidth)
    if rates is None:
        return basis
    parts = seconds_by_part(
        own_work(p.config, p.processes), p.shape, p.needs, p.lengths, rates, p.weight.itemsize
    )
    whole = sum(parts.values())
    rows = {name: f"{value:,.1f} s" for name, value in parts.items()}
    rows["an update"] = f"{whole:,.1f} s"
    rows[f"{p.config.updates} updates, without evaluations"] = duration(whole * p.config.updates)
    at_most = f"at most{without(uncounted(p.needs))}"
    return _table(f"time, {at_most}, at {SHARE_OF_RATE:.0%} of {basis}", rows)


def _rates(p: _Planned, rate: float | None, bandwidth: float | None) -> tuple[Rates | None, str]:
    """Stated rates, or measured ones where the device is here; and in words."""
    here = p.config.device == "cpu" or torch.cuda.is_available()
    if rate is None and not here:
        return None, (
            f"time: {p.config.device} is not here to be measured; give --rate TFLOPS and --bandwidth GB_PER_S"
        )
    rates = measured_rates(torch.device(p.config.device), p.weight) if here else None
    flops = rate * 1e12 if rate else rates.flops if rates else 0.0
    # Where only the first is stated: what accelerators of the last years have of it, 300 operations a byte.
    reading = bandwidth * 1e9 if bandwidth else rates.bytes if rates else flops / 300
    stated = "the stated" if rate else "the measured"
    return Rates(flops, reading), f"{stated} {flops / 1e12:,.3g} TFLOP/s, {reading / 1e9:,.0f} GB/s"


def _table(title: str, rows: dict[str, str], left: bool = False) -> str:
    width = max(map(len, rows))
    right = 0 if left else max(map(len, rows.values()))
    return "\n".join([f"{title}:", *(f"  {name:<{width}}  {value:>{right}}" for name, value in rows.items())])
