"""Tiny models that tests of the learner share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from stepopsd_agent.config import ModelConfig
from stepopsd_agent.models import Policy, tiny_policy

DType = Literal["auto", "float32", "bfloat16", "float64"]

TEXTS = [
    f"You are in the middle of a room. You see a cabinet {i % 9}, a drawer {i % 7}, and a fridge 1.\n"
    f"Your task is to: put a mug in drawer.\n> go to cabinet {i % 5}\n"
    f"On the cabinet {i % 5}, you see a plate {i % 3}."
    for i in range(120)
]


def tiny(dtype: DType = "float32", seed: int = 0, device: str = "cpu") -> Policy:
    """A two-layer model of width 32 with a tokenizer of its own."""
    config = ModelConfig(
        hidden_size=32, num_layers=2, num_heads=2, vocab_size=400, max_positions=2048, dtype=dtype
    )
    return tiny_policy(TEXTS, config, device, seed)


def experts() -> Policy:
    """A mixture of experts, which transformers trains as one tensor and stores one by one."""
    base = tiny()
    end = base.tokenizer.eos_token_id
    shape = Qwen3MoeConfig(
        vocab_size=len(base.tokenizer), hidden_size=32, intermediate_size=32, moe_intermediate_size=16,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, num_experts=4,
        num_experts_per_tok=2, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    return Policy(Qwen3MoeForCausalLM(shape), base.tokenizer, "cpu", base.prompt_format)


@contextmanager
def crowded(policy: Policy, most: int) -> Iterator[None]:
    """Memory for so many tokens per forward pass: a larger one fails after the layers, as if it were full."""
    left = 0

    def count(module: torch.nn.Module, ids: tuple[torch.Tensor, ...]) -> None:
        nonlocal left
        left = ids[0].numel()

    def check(module: torch.nn.Module, given: object) -> None:
        if left > most:
            raise torch.OutOfMemoryError("out of memory, as the test wants it")

    embedding = policy.model.get_input_embeddings()
    hooks = [
        embedding.register_forward_pre_hook(count),
        policy.model.base_model.norm.register_forward_pre_hook(check),  # type: ignore[union-attr]
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def gradients_of(*optimizers: torch.optim.Optimizer) -> dict[torch.nn.Parameter, torch.Tensor]:
    """Filled at every step to come with the gradients that it takes; afterwards none are left to look at."""
    found: dict[torch.nn.Parameter, torch.Tensor] = {}

    def take(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            found.update({p: p.grad.clone() for p in group["params"] if p.grad is not None})

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(take)
    return found
