"""Two processes that each hold a part of the weights learn and score as one that holds all of them."""

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from stepopsd_agent.batch import Batch
from stepopsd_agent.config import LoraConfig
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner, ShardedLearner, ShardedScorer
from stepopsd_agent.models import Policy, Scorer, ShardedPolicy, Sharding
from tests.agent.learner.test_learner import batch_for, credit_for
from tests.helpers.models import DType, gradients_of, tiny

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
ADAPTER = LoraConfig(rank=2)
SETTINGS: dict[str, Any] = {"lr": 1e-4, "kl_coef": 0.1, "mini_batches": 2, "tokens_per_micro_batch": 60}
"""Several passes a mini-batch, in other numbers by each process."""
UPDATES = 3
Found = dict[str, Any]


def policy_of(dtype: DType, lora: bool, group: dist.ProcessGroup | None) -> Policy:
    """The tiny model, whole or shared out."""
    wide: DType = "float32" if group is not None and dtype == "bfloat16" and not lora else dtype
    policy = tiny(wide)
    if dtype == "bfloat16":  # the same numbers in both types
        policy.load_state(
            {name: weight.bfloat16().to(weight.dtype) for name, weight in policy.state().items()}
        )
    if group is not None:
        compute = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}[dtype]
        policy = ShardedPolicy(policy, Sharding(group, torch.device("cpu"), compute), adapter=lora)
    if lora:
        policy.add_adapter(ADAPTER, seed=0)
    return policy


def whole(policy: Policy, parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Whole weights of what `Policy.state` gives."""
    return policy.whole_state(parts) if isinstance(policy, ShardedPolicy) else dict(parts)


def outcome(
    dtype: DType, lora: bool, rows: int, group: dist.ProcessGroup | None = None, **settings: Any
) -> Found:
    """Everything that is compared: gradients of the first update, weights and figures after three, scores."""
    policy = policy_of(dtype, lora, group)
    plain = tiny(dtype)
    batch = batch_for(plain, episodes=rows)
    credit = credit_for(batch)
    reference = policy.origin()
    how = {"group": group, "reference": reference, **SETTINGS, **settings}
    learner = Learner(policy, **how) if group is None else ShardedLearner(policy, **how)  # type: ignore[arg-type]
    scorer = Scorer(policy, tokens_per_pass=60)
    if group is not None:
        scorer = ShardedScorer(scorer, group)
    with policy.weights(reference):
        batch = batch.with_columns(ref_logprobs=batch_logprobs(scorer, batch) - 0.1 * batch.action_mask)
    found = gradients_of(*learner.optimizers)
    first = learner.update(batch, credit)
    named = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    order = [p for o in learner.optimizers for g in o.param_groups for p in g["params"]]
    gradients = dict(zip(named, (found[weight] for weight in order), strict=True))
    if isinstance(policy, ShardedPolicy):
        gradients = policy.on_first({n: (named[n], g.to_local()) for n, g in gradients.items()})  # type: ignore[attr-defined]
    for _ in range(UPDATES - 1):
        last = learner.update(batch, credit)
    scores = batch_logprobs(scorer, batch)
    with policy.weights(reference):
        before = batch_logprobs(scorer, batch)
    played = scored_by_player(policy, batch)
    return {
        "gradients": gradients, "weights": whole(policy, policy.state()), "first": first, "last": last,
        "scores": scores, "before": before, "played": played,
    }  # fmt: skip


def scored_by_player(policy: Policy, batch: Batch) -> torch.Tensor:
    """Log-probabilities by the policy that plays."""
    if not isinstance(policy, ShardedPolicy):
        return batch_logprobs(Scorer(policy), batch)
    with policy.player() as player:
        return batch_logprobs(Scorer(player), batch)


CASES: dict[str, tuple[DType, bool, int, dict[str, Any]]] = {
    "full": ("float32", False, 6, {}),
    "double": ("float64", False, 6, {"lr": 1e-2}),
    "lora": ("float32", True, 6, {}),
    "one row": ("float32", False, 1, {"mini_batches": 1}),
    "recomputed": ("float32", False, 6, {"gradient_checkpointing": True}),
    "padded": ("float32", False, 5, {"attention": "padded"}),
    "half": ("bfloat16", False, 6, {}),
    "half lora": ("bfloat16", True, 6, {"gradient_checkpointing": True}),
}
MOST = {"float32": 1e-5, "float64": 1e-9, "bfloat16": 2e-2}


def worker(rank: int, file: str, names: list[str], out: "Queue[Any]") -> None:
    """One of two processes; the first tells what came of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for name in names:
        dtype, lora, rows, settings = CASES[name]
        found = outcome(dtype, lora, rows, dist.group.WORLD, **settings)
        if rank == 0:
            torch.save(found, f"{file}-{name}")
            out.put(name)
    dist.destroy_process_group()


def after_an_update_without_credit(group: dist.ProcessGroup | None = None) -> Found:
    """Weights after an update, and another one in which no row has an advantage, a loss or a KL term."""
    policy = policy_of("float64", False, group)
    batch = batch_for(tiny("float64"), episodes=4)
    credit = credit_for(batch)
    settings: dict[str, Any] = {"group": group, "lr": 1e-2, "kl_coef": 0.0}
    learner = Learner(policy, **settings) if group is None else ShardedLearner(policy, **settings)  # type: ignore[arg-type]
    learner.update(batch, credit)
    learner.update(batch, replace(credit, advantages=torch.zeros_like(credit.advantages), terms=()))
    return whole(policy, policy.state())


def after_updates_without_scored_reference(group: dist.ProcessGroup | None = None) -> Found:
    """Weights and figures after updates with a KL term, of a batch that the reference has not scored."""
    policy = policy_of("float64", False, group)
    batch = batch_for(tiny("float64"), episodes=5)
    credit = credit_for(batch)
    settings: dict[str, Any] = {"group": group, "lr": 1e-2, "kl_coef": 0.1, "tokens_per_micro_batch": 60}
    learner = Learner(policy, **settings) if group is None else ShardedLearner(policy, **settings)  # type: ignore[arg-type]
    figures = [learner.update(batch, credit, temperature=0.8) for _ in range(UPDATES)]
    return {"weights": whole(policy, policy.state()), "figures": figures}


OTHERS = {"idle": after_an_update_without_credit, "unscored": after_updates_without_scored_reference}


def other_worker(rank: int, file: str, names: list[str], out: "Queue[Any]") -> None:
    """As `worker`, of one of `OTHERS`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = OTHERS[names[0]](dist.group.WORLD)
    if rank == 0:
        torch.save(found, f"{file}-{names[0]}")
        out.put(names[0])
    dist.destroy_process_group()


def together(names: list[str], folder: Path, target: Callable[..., None] = worker) -> dict[str, Found]:
    """The outcome of each case in two processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.agent.learner.test_sharded"])
    out: Queue[Any] = context.Queue()
    both = [
        context.Process(target=target, args=(rank, str(folder / "meet"), names, out)) for rank in range(2)
    ]
    for process in both:
        process.start()
    try:
        return {
            name: torch.load(f"{folder / 'meet'}-{name}") for name in (out.get(timeout=60) for _ in names)
        }
    finally:
        for process in both:
            process.join(20)
            process.kill()


def assert_equal(found: Found, expected: Found, most: float) -> None:
    """Equal up to rounding."""
    for what in ("gradients", "weights"):
        assert found[what].keys() == expected[what].keys()
        for name, tensor in expected[what].items():
            mine = found[what][name].to(tensor.dtype)
            torch.testing.assert_close(mine, tensor, atol=most, rtol=0, msg=lambda m: f"{what} {name}: {m}")  # noqa: B023
    for what in ("scores", "before", "played"):
        torch.testing.assert_close(found[what], expected[what], atol=10 * most, rtol=0)
    for what in ("first", "last"):
        assert found[what] == pytest.approx(expected[what], abs=max(1e-6, 10 * most))


def test_sharded_updates_are_those_of_one_process(tmp_path: Path) -> None:
    """Gradients, weights after three updates, scores of the policy, of the reference and of who plays."""
    names = [name for name in CASES if "lora" not in name]
    for name, found in together(names, tmp_path).items():
        dtype, lora, rows, settings = CASES[name]
        assert_equal(found, outcome(dtype, lora, rows, **settings), MOST[dtype])


def test_a_sharded_update_without_credit_is_that_of_one_process(tmp_path: Path) -> None:
    """The optimizer steps with gradients of zero, not without any: its moments go on."""
    found = together(["idle"], tmp_path, other_worker)["idle"]
    for name, weight in after_an_update_without_credit().items():
        torch.testing.assert_close(found[name], weight, atol=1e-9, rtol=0)


def test_a_sharded_learner_scores_its_reference_itself(tmp_path: Path) -> None:
    """With a KL term and no log-probabilities of the reference in the batch, as a learner of one process."""
    found = together(["unscored"], tmp_path, other_worker)["unscored"]
    expected = after_updates_without_scored_reference()
    assert expected["figures"][-1]["kl"] > 0
    for figures, mine in zip(expected["figures"], found["figures"], strict=True):
        assert mine == pytest.approx(figures, abs=1e-6)
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, atol=1e-9, rtol=0)


def test_sharded_adapters_are_those_of_one_process(tmp_path: Path) -> None:
    """The same of an adapter, whose reference is the model without it."""
    pytest.importorskip("peft", reason="the extra lora is not installed")
    names = [name for name in CASES if "lora" in name]
    for name, found in together(names, tmp_path).items():
        dtype, lora, rows, settings = CASES[name]
        assert_equal(found, outcome(dtype, lora, rows, **settings), MOST[dtype])
