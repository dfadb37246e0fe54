"""The update however rows are laid out, whatever memory there is, and in half precision."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from stepopsd_agent.batch import TopK
from stepopsd_agent.config import Attention, LoraConfig
from stepopsd_agent.credit import DistributionTerm
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import logprobs as output_layer
from stepopsd_agent.ops import distillation, losses
from stepopsd_agent.rollout import KeyValueCache
from tests.agent.learner.test_learner import batch_for, credit_for, gradients
from tests.agent.models.test_self_check import random_policy
from tests.helpers.models import crowded, tiny


def disturb(policy: Policy) -> None:
    """Give every trained weight another value: an adapter begins with zeros that would hide gradients."""
    generator = torch.Generator().manual_seed(0)
    state = policy.state()
    policy.load_state({n: w + 0.05 * torch.randn(w.shape, generator=generator) for n, w in state.items()})


@pytest.mark.parametrize("lora", [False, True])
def test_learner_gradients_agree_however_rows_are_laid_out(lora: bool) -> None:
    """Packed, padded, a row per step, recomputed layers, one row per pass: one gradient (float64)."""
    policy = tiny("float64")
    if lora:
        pytest.importorskip("peft", reason="the extra lora is not installed")
        policy.add_adapter(LoraConfig(rank=4), seed=0)
        disturb(policy)
    batch, steps = batch_for(policy), batch_for(policy, "window")
    expected = gradients(policy, batch, attention="padded", tokens_per_micro_batch=100_000)
    assert len(expected) == len(policy.state())
    others = {
        "packed": gradients(policy, batch),
        "row per step": gradients(policy, steps),
        "row per step, padded": gradients(policy, steps, attention="padded"),
        "packed in parts": gradients(policy, batch, tokens_per_micro_batch=60),
        "row per pass": gradients(policy, batch, tokens_per_micro_batch=1),
        "recomputed": gradients(policy, batch, gradient_checkpointing=True),
        "recomputed, padded": gradients(policy, batch, gradient_checkpointing=True, attention="padded"),
    }
    for layout, found in others.items():
        for name, gradient in expected.items():
            # Norms and rotations are float32 inside whatever the model's type, hence not closer.
            apart = (found[name] - gradient).norm()
            assert apart <= 1e-6 * min(1, gradient.norm()), f"{layout}, {name}: {apart}"


def test_learner_trains_a_model_that_takes_no_packs() -> None:
    """With the settings as they are: its gradient is that of padded rows."""
    policy = random_policy("StableLmConfig", torch.float64, max_position_embeddings=1024)
    batch = batch_for(policy)
    expected, found = gradients(policy, batch, attention="padded"), gradients(policy, batch)
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    assert sum(float(gradient.norm()) for gradient in expected.values()) > 0


def test_learner_goes_on_where_memory_runs_out() -> None:
    """Passes above 60 tokens fail half way; the gradient is that of enough memory."""
    policy = tiny("float64")
    batch = batch_for(policy)
    expected = gradients(policy, batch)
    with crowded(policy, 60), pytest.warns(RuntimeWarning, match="out of memory on cpu"):
        got = gradients(policy, batch)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-12, rtol=1e-9)


def test_learner_keeps_its_smaller_budget() -> None:
    """Memory runs out once, not at every update."""
    policy = tiny()
    batch = batch_for(policy)
    learner = Learner(policy, kl_coef=0.0)
    with crowded(policy, 60), pytest.warns(RuntimeWarning, match="out of memory on cpu"):
        first = learner.update(batch, credit_for(batch))
        halvings = learner.budget.halvings
        second = learner.update(batch, credit_for(batch))
    assert learner.budget.halvings == halvings >= 1 and learner.budget.tokens <= 60
    assert first["tokens_per_micro_batch"] == learner.budget.tokens  # it stands in the log of that update
    assert "tokens_per_micro_batch" not in second


def test_learner_processes_no_padding_and_keeps_to_its_budget() -> None:
    """Packed: every row up to its last action token, once, in passes that fit."""
    policy = tiny()
    batch = batch_for(policy, episodes=8)
    learner = Learner(policy, kl_coef=0.0, tokens_per_micro_batch=60)
    with crowded(policy, 60):
        learner.update(batch, credit_for(batch))
    column = torch.arange(1, batch.action_mask.shape[1] + 1)
    assert learner.budget.take() == int((batch.action_mask * column).amax(1).sum())
    assert learner.budget.halvings == 0


def test_learner_recomputes_layers_in_the_update_alone() -> None:
    """Afterwards the model keeps its cache again, which generation needs."""
    policy = tiny()
    batch = batch_for(policy)
    counts: list[int] = []
    layer = next(m for m in policy.model.modules() if isinstance(m, Qwen3DecoderLayer))
    hook = layer.self_attn.register_forward_pre_hook(lambda module, ids: counts.append(1))
    Learner(policy, kl_coef=0.0, gradient_checkpointing=True).update(batch, credit_for(batch))
    assert len(counts) == 2  # forward, and once more for the backward pass
    hook.remove()
    assert not any(module.training for module in policy.model.modules())
    cache, ids = KeyValueCache(), torch.ones(1, 3, dtype=torch.long)
    policy.padded_logits(ids, torch.arange(3)[None], torch.ones(1, 1, 3, 3, dtype=torch.bool).tril(), cache)
    assert cache.get_seq_length() == 3


@pytest.mark.parametrize("attention", ["auto", "padded"])
def test_learner_compares_distributions_chunk_by_chunk(
    attention: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A term on whole distributions: the same gradient with logits of a few places at a time."""
    policy = tiny("float64")
    batch = batch_for(policy, episodes=16)
    places = int(batch.action_mask.sum())
    assert places > 2 * 64
    likely = torch.stack([torch.randperm(300)[:5] for _ in range(places)])
    batch = replace(batch, teacher_topk=TopK(likely, torch.full((places, 5), 0.15).log()))
    weights = losses.token_mean(batch.action_mask, torch.float64)
    term = DistributionTerm("compared", partial(distillation.distribution_jsd, beta=0.5), weights)
    credit = replace(credit_for(batch), terms=(term,))
    whole = gradients(policy, batch, credit, attention=attention)
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 1)
    for tokens in (100_000, 100):
        parts = gradients(policy, batch, credit, attention=attention, tokens_per_micro_batch=tokens)
        for name in whole:
            torch.testing.assert_close(parts[name], whole[name], atol=1e-12, rtol=1e-9)
    without = gradients(policy, batch, attention=attention)
    assert any((without[name] - whole[name]).abs().max() > 1e-6 for name in whole)


def test_learner_keeps_small_updates_of_half_precision_weights() -> None:
    """Steps of 1e-5 vanish in bfloat16 one by one; kept in full precision, a hundred of them show."""
    policy = tiny("bfloat16")
    batch = batch_for(policy)
    before = policy.state()
    learner = Learner(policy, lr=1e-5, kl_coef=0.0, weight_decay=0.0)
    for _ in range(100):
        learner.update(batch, credit_for(batch))
    name = "model.layers.0.mlp.down_proj.weight"
    moved = (policy.state()[name].float() - before[name].float()).abs().mean()
    assert 3e-4 < moved < 1e-3
    assert policy.model.dtype == torch.bfloat16


def test_learner_comes_back_from_a_checkpoint_in_half_precision() -> None:
    """The full-precision copies are part of it: what follows is equal to the bit."""
    one, two = tiny("bfloat16"), tiny("bfloat16")
    batch = batch_for(one)
    first, second = (Learner(policy, lr=1e-5, kl_coef=0.0) for policy in (one, two))
    for _ in range(3):
        first.update(batch, credit_for(batch))
    two.load_state(one.state())
    second.masters.restore(first.masters.tensors())
    second.optimizers[0].load_state_dict(deepcopy(first.optimizers[0].state_dict()))
    for learner in (first, second):
        learner.update(batch, credit_for(batch))
    for mine, theirs in zip(first.masters.trained, second.masters.trained, strict=True):
        assert torch.equal(mine, theirs)
