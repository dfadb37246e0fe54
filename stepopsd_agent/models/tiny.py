"""A fresh, tiny Qwen3-shaped model for demonstrations and tests, with its own tokenizer."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from stepopsd_agent.config import ModelConfig
from stepopsd_agent.models.loading import weight_type
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.models.tiny_tokenizer import END, FindNames, numbered, train_tokenizer


def tiny_policy(
    texts: Sequence[str], config: ModelConfig, device: str, seed: int, names: FindNames = numbered
) -> Policy:
    """Make a policy with random weights and a tokenizer of its own.

    Args:
        texts: what the tokenizer is learned from.
        config: shape and type of the model.
        device: where it goes.
        seed: of the weights.
        names: finds the names that the tokenizer keeps as single pieces.

    Raises:
        ValueError: ``config.chat`` is "on", but a fresh tokenizer has no chat template.
    """
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=train_tokenizer(texts, config.vocab_size, names),
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
    assert tokenizer.eos_token_id is not None  # given just now
    with torch.random.fork_rng(devices=[]):  # initial weights from the seed, the caller's generator untouched
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(tiny_shape(config, len(tokenizer), int(tokenizer.eos_token_id)))
    _attend_to_equal_tokens(model)
    torch.nn.Module.to(
        model, weight_type(config.dtype, device)
    )  # transformers hides the types of its own `to`
    return Policy(model, tokenizer, device, make_format(tokenizer, config.chat))


def tiny_shape(config: ModelConfig, vocabulary: int, end: int) -> Qwen3Config:
    """The configuration of the fresh model; token ``end`` ends responses and pads."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=config.hidden_size,
        intermediate_size=3 * config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=max(1, config.num_heads // 2),
        head_dim=config.head_dim,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},  # slow turns: names match from afar
        tie_word_embeddings=True,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=None,
    )


def _attend_to_equal_tokens(model: Qwen3ForCausalLM) -> None:
    """Start some attention heads as copies that look for equal tokens, as finding the goal in a list needs.

    One query head per key head starts as that key head (mimetic initialisation, Trockman and Kolter 2023,
    without its value part), and larger norms make the first attention sharp enough to pick one token of
    hundreds. Training changes all of it.
    """
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            size = attention.head_dim
            keys = attention.k_proj.weight.unflatten(0, (-1, size))  # (key heads, size, D)
            attention.q_proj.weight.unflatten(0, (len(keys), -1, size))[:, 0].copy_(keys)
            attention.q_norm.weight.fill_(1.6)
            attention.k_norm.weight.fill_(1.6)
