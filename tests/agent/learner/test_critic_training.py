"""The critic is trained as the policy is: adapters, recomputed layers, rows shared by processes."""

import multiprocessing
from copy import deepcopy
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist
from transformers.modeling_layers import GradientCheckpointingLayer

from stepopsd_agent import credit
from stepopsd_agent.config import CriticConfig, LoraConfig
from stepopsd_agent.learner import Critic
from stepopsd_agent.models.packed import TokenBudget
from stepopsd_agent.run import Trainer
from tests.agent.learner.test_learner import batch_for
from tests.helpers.models import DType, gradients_of, tiny
from tests.helpers.runs import run_config, taught

LR = CriticConfig(lr=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_critic_of_an_adapted_policy_trains_an_adapter_of_its_own(dtype: DType) -> None:
    """The model below is the policy's, uncopied, and stays; checkpoints hold adapter and head."""
    pytest.importorskip("peft", reason="the extra lora is not installed")
    policy = tiny(dtype)
    plain = sum(p.numel() for p in policy.model.parameters())
    policy.add_adapter(LoraConfig(rank=2), seed=0)
    critic, batch = Critic(policy, LR), batch_for(policy)
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    targets = torch.arange(float(batch.num_steps)) / batch.num_steps
    errors = [critic.learn(batch, targets)["value_loss"] for _ in range(8)]
    assert errors[-1] < 0.9 * errors[0]
    assert all(torch.equal(before[name], p) for name, p in policy.model.named_parameters())
    kept = critic.tensors()["critic"]
    assert all(".lora_" in name or name.startswith("head.") for name in kept)
    assert any(weight.any() for name, weight in kept.items() if "lora_B" in name)
    assert sum(weight.numel() for weight in kept.values()) < plain / 4
    own = {p.data_ptr() for p in critic.body.parameters() if not p.requires_grad}
    assert own <= {p.data_ptr() for p in policy.model.parameters()}
    again = Critic(policy, LR)
    again.restore(deepcopy(critic.tensors()), critic.state())
    for one in (critic, again):
        one.learn(batch, targets)
    budget = TokenBudget(64, torch.device("cpu"))
    assert torch.equal(critic.values(batch, budget), again.values(batch, budget))


def test_critic_of_a_whole_policy_trains_all_of_its_copy() -> None:
    """None of its weights are the policy's."""
    policy = tiny()
    critic = Critic(policy, LR)
    assert len(critic.parameters) == len(list(policy.model.base_model.parameters())) + 2
    assert not {p.data_ptr() for p in critic.parameters} & {p.data_ptr() for p in policy.model.parameters()}


def test_critic_recomputes_layers_in_its_update_alone() -> None:
    """As asked; the gradients are the same."""
    policy = tiny("float64")
    batch = batch_for(policy)
    gradients, recomputing = [], []
    for on in (False, True):
        critic = Critic(policy, CriticConfig(lr=0.0, max_grad_norm=1e9), gradient_checkpointing=on)
        torch.nn.init.ones_(critic.head.weight)
        layers = [m for m in critic.body.modules() if isinstance(m, GradientCheckpointingLayer)]
        hook = critic.head.register_forward_pre_hook(
            lambda *_, layers=layers: recomputing.append(all(m.gradient_checkpointing for m in layers))
        )
        found = gradients_of(critic.optimizer)
        critic.learn(batch, torch.ones(batch.num_steps))
        hook.remove()
        assert layers and not any(m.gradient_checkpointing or m.training for m in layers)
        gradients.append(list(found.values()))
    assert not any(recomputing[: len(recomputing) // 2]) and all(recomputing[len(recomputing) // 2 :])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


@pytest.mark.samples
def test_critic_of_a_run_has_the_settings_of_its_learner() -> None:
    """Recomputed layers, attention, and an adapter; its update works with them."""
    pytest.importorskip("peft", reason="the extra lora is not installed")
    learner = {"gradient_checkpointing": True, "attention": "padded", "lora": {"rank": 2}, "kl_coef": 0.0}
    one = Trainer(run_config(learner=learner), credit.make("turn_gae"), taught())
    assert one.critic is not None and one.critic.backend == "padded" and one.critic.group is one.group
    seen: list[bool] = []
    layer = next(m for m in one.critic.body.modules() if isinstance(m, GradientCheckpointingLayer))
    one.critic.head.register_forward_pre_hook(lambda *_: seen.append(layer.gradient_checkpointing))
    metrics = one.step()[1]
    assert "update/value_loss" in metrics and not seen[0] and seen[-1]


def learned(group: dist.ProcessGroup | None, rows: int) -> tuple[list[float], list[dict[str, float]]]:
    """Values and figures after two updates on a batch that every process has."""
    policy = tiny("float64")
    batch = batch_for(policy, episodes=rows)
    critic = Critic(policy, LR, group=group)
    targets = torch.arange(float(batch.num_steps)) / batch.num_steps
    stats = [critic.learn(batch, targets) for _ in range(2)]
    return critic.values(batch, TokenBudget(4096, torch.device("cpu"))).tolist(), stats


def worker(rank: int, file: str, out: "Queue[Any]") -> None:
    """One of two processes; both tell what came of it, for every number of rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    group = dist.new_group([0, 1])
    out.put([learned(group, rows) for rows in (5, 1)])
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="PyTorch was built without torch.distributed")
def test_two_processes_train_the_critic_as_one(tmp_path: Path) -> None:
    """Also where one of them has no row."""
    context = multiprocessing.get_context("spawn")
    out: Queue[Any] = context.Queue()
    arguments = [(rank, str(tmp_path / "meet"), out) for rank in range(2)]
    both = [context.Process(target=worker, args=given) for given in arguments]
    for process in both:
        process.start()
    found = [out.get(timeout=240) for _ in both]
    for process in both:
        process.join(60)
    for place, rows in enumerate((5, 1)):
        values, stats = learned(None, rows)
        for mine in found:
            assert mine[place][0] == pytest.approx(values, abs=1e-9)
            assert [pytest.approx(one, rel=1e-6) for one in stats] == mine[place][1]
