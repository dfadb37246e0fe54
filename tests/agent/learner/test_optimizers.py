"""Which optimizer takes which weights."""

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.config import ModelConfig
from stepopsd_agent.learner import Learner, averaged, learning_rate_factor, make_optimizers
from stepopsd_agent.models import Policy, tiny_policy
from tests.helpers.builders import random_batch


@pytest.fixture
def policy() -> Policy:
    """A tiny model whose output layer is its embedding."""
    return tiny_policy(["go to desk 1"], ModelConfig(hidden_size=32, num_layers=1, num_heads=2), "cpu", 0)


@pytest.mark.parametrize(("muon_lr", "count"), [(0.0, 1), (0.02, 2)])
def test_optimizers_share_all_weights_without_overlap(policy: Policy, muon_lr: float, count: int) -> None:
    """With Muon the matrices of the layers go there, embedding and norms stay with AdamW."""
    optimizers = make_optimizers(policy, lr=1e-3, muon_lr=muon_lr, weight_decay=0.01, betas=(0.9, 0.95))
    assert len(optimizers) == count
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, policy.model.parameters()))
    embedding = id(policy.model.get_input_embeddings().weight)
    assert embedding in [id(p) for group in optimizers[0].param_groups for p in group["params"]]


def test_optimizers_leave_frozen_weights_alone(policy: Policy) -> None:
    """What does not ask for a gradient is in no optimizer."""
    matrices = [p for p in policy.model.parameters() if p.ndim == 2]
    for matrix in matrices:
        matrix.requires_grad_(False)
    (adamw,) = make_optimizers(policy, lr=1e-3, muon_lr=0.02, weight_decay=0.0, betas=(0.9, 0.95))
    assert all(p.ndim == 1 for group in adamw.param_groups for p in group["params"])


def test_optimizers_of_matrices_alone_are_muon_alone(policy: Policy) -> None:
    """An adapter has no other weights, and its rate is Muon's."""
    embedding = policy.model.get_input_embeddings().weight
    for weight in policy.model.parameters():
        weight.requires_grad_(weight.ndim == 2 and weight is not embedding)
    learner = Learner(policy, lr=1e-3, muon_lr=0.02, kl_coef=0.0)
    batch = random_batch(0)
    learner.update(batch, credit.make("grpo")(batch), rate=0.5)
    (muon,) = learner.optimizers
    assert isinstance(muon, torch.optim.Muon)
    assert [group["lr"] for group in muon.param_groups] == [0.01]


def test_learning_rate_rises_and_falls() -> None:
    """Without warm-up and decay it stays; each adds its line."""
    assert [learning_rate_factor(k, 4, "constant", 0) for k in range(4)] == [1.0] * 4
    assert [learning_rate_factor(k, 4, "linear", 0) for k in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [learning_rate_factor(k, 4, "constant", 1) for k in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert learning_rate_factor(0, 4, "linear", 3) == 0.25
    with pytest.raises(ValueError, match="update is -1; updates count from 0"):
        learning_rate_factor(-1, 4, "linear", 0)


def test_averaged_follows_weights_that_half_precision_would_never_reach() -> None:
    """From 1 to 1 + 2^-7, the next number of bfloat16, in 150 steps of a twentieth: 1 - 0.95^150 of it."""
    before, now = torch.ones(3, dtype=torch.bfloat16), torch.full((3,), 1 + 2**-7, dtype=torch.bfloat16)
    teacher = {"weight": before}
    for _ in range(150):
        teacher = averaged(teacher, {"weight": now}, 0.05)
    moved = (teacher["weight"] - 1) / 2**-7
    assert moved.tolist() == pytest.approx([1 - 0.95**150] * 3, rel=1e-3)
    assert before.lerp(now, 0.05).tolist() == [1.0] * 3  # as it would be without


def test_averaged_keeps_double_precision() -> None:
    """It is wider than float32."""
    teacher = averaged(
        {"w": torch.zeros(1, dtype=torch.float64)}, {"w": torch.ones(1, dtype=torch.float64)}, 0.5
    )
    assert teacher["w"].dtype == torch.float64 and teacher["w"].item() == 0.5
