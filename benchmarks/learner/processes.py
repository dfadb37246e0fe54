"""Updates by two processes beside those of one, in one run: seconds, work of the processor, and equality.

``python -m benchmarks.learner.processes [--pairs 4] [--json OUT] [--short]`` starts two processes with one
thread each. In every round three trainers with the same settings make the same update, in turns: one process
alone (the other one waits without working), two that share the work (``learner.sharding none``), and two that
share the model too (``fsdp``). An update is all of it: play, scoring of policy, teacher and reference,
credit, and the optimizer step. A ratio is the median over rounds of the seconds of two by those of one.

Where other work shares the machine, seconds tell of that; so the processor's seconds stand beside them, of
the process that worked most. Target: 0.65 of the seconds; gradients of the first update and weights after the
last one equal within 1e-5 (float32).
"""

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import torch
from torch import Tensor, distributed as dist

from benchmarks.output import write_result
from stepopsd_agent.batch import Batch
from stepopsd_agent.config import ModelConfig, RunConfig, config_from_dict
from stepopsd_agent.credit import Claim, Credit, computed
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.models import ShardedPolicy, load_policy, tiny_policy
from stepopsd_agent.rollout import demonstrate, pieces
from stepopsd_agent.run import Processes, Trainer, joined, work_shared
from stepopsd_agent.tasks import make_stack, task_ids

COMMAND = "python -m benchmarks.learner.processes"
TARGET, EQUAL = 0.65, 1e-5
KINDS = ("one", "none", "fsdp")
MODEL = ModelConfig(hidden_size=256, num_layers=4, num_heads=4, vocab_size=1024, max_positions=1024)
SETTINGS: dict[str, Any] = {
    "threads": 1,
    "env": {"tier": "tiny", "step_limit": 6, "num_games": 16},
    "rollout": {"max_tokens": 12, "max_row_tokens": 900},  # groups and slots: as many as are usual
    "learner": {"lr": 1e-5, "tokens_per_micro_batch": 8192},
}
"""Untrained weights play until the limit of steps and win nothing, see `Alternating`. Passes are as long as
"auto" begins with on a GPU, for which `fsdp` is made: in each of them every layer is put together."""
SHORT: dict[str, Any] = {"tasks": 2, "group_size": 2, "slots": 4}


@dataclass(frozen=True)
class Alternating:
    """An advantage for every step, of both signs, whatever it led to: untrained weights win nothing."""

    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset({"student_logprobs", "teacher_logprobs"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """1 and -1 in turns, a little more or less as the teacher says."""
        tokens, step = batch.tokens, batch.tokens.step_of_token.clamp_min(0)
        teacher, student = (
            computed(tokens.teacher_logprobs, "teacher"),
            computed(tokens.student_logprobs, "student"),
        )
        advantages = (1 - 2.0 * (step % 2)) * (1 + 0.1 * (teacher - student).clamp(-1, 1))
        return Credit(advantages * batch.action_mask)


def settings(kind: str, short: bool) -> RunConfig:
    """The settings of one of `KINDS`."""
    sharding = "fsdp" if kind == "fsdp" else "none"
    rollout = {**SETTINGS["rollout"], **(SHORT if short else {})}
    learner = {**SETTINGS["learner"], "sharding": sharding}
    return config_from_dict({**SETTINGS, "rollout": rollout, "learner": learner})


def save_model(folder: Path) -> None:
    """Write the untrained model that every trainer begins with."""
    config = settings("one", False)
    env = make_stack(config.env)
    played = demonstrate(env, task_ids(env)[:8], 0.0, 0)
    tiny_policy(pieces(played) + hindsight_words() * 10, MODEL, "cpu", seed=0).save(folder)


class Gradients:
    """The first gradient of a trainer, by name of the weight."""

    def __init__(self, trainer: Trainer) -> None:
        """Look at the first step of the optimizer."""
        self.trainer, self.found = trainer, dict[str, Tensor]()
        self._hook = trainer.learner.optimizers[0].register_step_pre_hook(self._take)

    def _take(self, *_: object) -> None:
        self._hook.remove()
        named = self.trainer.policy.model.named_parameters()
        self.found = whole(self.trainer, {name: p.grad for name, p in named if p.grad is not None})


def whole(trainer: Trainer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors as large as the weights, in the first process whole."""
    policy = trainer.policy
    if not isinstance(policy, ShardedPolicy):
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}
    parts = {name: (tensor, tensor.to_local()) for name, tensor in tensors.items()}  # type: ignore[attr-defined]
    return policy.on_first(parts)


def furthest(ones: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """The largest difference of two sets of tensors."""
    return max(float((ones[name] - others[name]).abs().max()) for name in ones)


def trainers(processes: Processes, folder: Path, short: bool) -> dict[str, Trainer]:
    """A trainer of each kind; the other process has none that works alone."""
    made: dict[str, Trainer] = {}
    for kind in KINDS:
        config, method, policy = (
            settings(kind, short),
            Alternating(),
            load_policy(folder, checked=False),
        )
        if kind != "one":
            shared = work_shared(config, processes)
            made[kind] = shared.trainer(shared.config, method, shared.policy(policy))
        elif processes.rank == 0:
            made[kind] = Trainer(config, method, policy)
    return made


def worker(rank: int, port: int, folder: str, pairs: int, short: bool) -> None:
    """One of two processes; the first one leaves what it found as ``found.pt`` in the folder."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    with joined("cpu", COMMAND) as processes:
        made = trainers(processes, Path(folder) / "model", short)
        first = {kind: Gradients(trainer) for kind, trainer in made.items()}
        rows: list[dict[str, Any]] = []
        for number in range(pairs + 1):
            order = KINDS if number % 2 else KINDS[::-1]
            row = {kind: timed(made.get(kind), processes) for kind in order}
            if rank == 0:
                print({kind: round(row[kind]["wall_s"], 2) for kind in KINDS}, file=sys.stderr, flush=True)
            if number:  # the first one warms up
                rows.append(row)
        weights = {kind: whole(made[kind], dict(made[kind].policy.model.named_parameters())) for kind in made}
        if rank == 0:
            gradients = {kind: furthest(first["one"].found, first[kind].found) for kind in KINDS[1:]}
            last = {kind: furthest(weights["one"], weights[kind]) for kind in KINDS[1:]}
            torch.save((rows, gradients, last), Path(folder) / "found.pt")


def timed(trainer: Trainer | None, processes: Processes) -> dict[str, float]:
    """Seconds of one update, and the processor's, of the process that worked most."""
    processes.wait()
    began, worked = time.perf_counter(), time.process_time()
    parts = {} if trainer is None else trainer.step()[2]
    spent = torch.tensor([time.process_time() - worked], dtype=torch.float64)
    wall = time.perf_counter() - began
    dist.all_reduce(spent, op=dist.ReduceOp.MAX, group=processes.group)
    return {"wall_s": wall, "cpu_s": float(spent), **parts}


def measured(pairs: int, short: bool) -> dict[str, Any]:
    """Medians, ratios, and the largest differences."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model")
        both = [context.Process(target=worker, args=(rank, port, folder, pairs, short)) for rank in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()
        rows, gradients, weights = torch.load(Path(folder) / "found.pt")
    return {
        "pairs": pairs,
        "model": vars(MODEL),
        "settings": SETTINGS,
        "seconds": {kind: medians([row[kind] for row in rows]) for kind in KINDS},
        "ratio": {kind: medians([quotients(row[kind], row["one"]) for row in rows]) for kind in KINDS[1:]},
        "difference": {"gradients": gradients, "weights": weights},
    }


def quotients(ones: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """Each figure of some by that of others."""
    return {name: value / others[name] for name, value in ones.items()}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {name: round(median(row[name] for row in rows), 3) for name in rows[0]}


def reached(found: dict[str, Any], kind: str, clock: str) -> bool:
    """Whether two processes of a kind are as fast as they should be by a clock, and equal to one."""
    fast = found["ratio"][kind][clock] <= TARGET
    return bool(fast and all(kinds[kind] <= EQUAL for kinds in found["difference"].values()))


def main() -> int:
    """Measure, print, and tell whether the target is reached."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4, help="rounds that count (default: 4)")
    parser.add_argument("--short", action="store_true", help="one round of a small update")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    options = parser.parse_args()
    found = measured(1 if options.short else options.pairs, options.short)
    for kind, ratio in found["ratio"].items():
        print(f"sharding {kind}: of the seconds of one process: {ratio}")
    print(f"largest differences: {found['difference']}", file=sys.stderr)
    good = {kind: {clock: reached(found, kind, clock) for clock in ("wall_s", "cpu_s")} for kind in KINDS[1:]}
    if options.json is not None:
        how = f"{COMMAND} --pairs {found['pairs']}{' --short' * options.short}"
        write_result(options.json, {**found, "target": TARGET, "reached": good}, how)
    return 0 if options.short or all(clocks["wall_s"] for clocks in good.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
