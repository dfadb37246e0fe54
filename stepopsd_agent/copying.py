"""A fresh model that begins by copying: whoever stands on a word looks for what followed it earlier.

Names of two words are read in one place and have to be said in another, and which word comes next is known
only from there. Two layers together find it (induction heads, Olsson et al. 2022): in the first a head looks
one token back and notes what stands there; in the second a head looks for the tokens that noted the word it
stands on. Training finds this by itself, but spends most of a short warm start on it; here the matrices of
one key head of the first two layers are written down, as a start. Training changes all of it.
"""

import math

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

SHARPNESS = 2.0  # of the norms of keys and queries
NOTE = 3.0  # size of what is noted, beside the token's own part of the stream


def begin_by_copying(model: Qwen3ForCausalLM, seed: int) -> None:
    """Write a head that looks one token back into the first layer, and one that uses it into the second.

    Args:
        model: fresh; two layers or more, and wide enough for two heads side by side.
        seed: of the directions that carry the notes.
    """
    shape = model.config
    size = shape.head_dim
    if shape.num_hidden_layers < 2 or shape.hidden_size <= 2 * size:
        raise ValueError(
            f"model.copying takes two layers and a width above two heads, got {shape.num_hidden_layers} and "
            f"{shape.hidden_size} with heads of {size}; make the model larger or leave copying out"
        )
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(shape.hidden_size, 2 * size + 1, generator=generator))[0]
    common, own, noted = axes[:, 0], axes[:, 1 : size + 1], axes[:, size + 1 :]  # at right angles
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    with torch.no_grad():
        words = model.model.embed_tokens.weight
        length = words.norm(dim=1).mean()
        words.add_(common * length)  # what all have in common changes no probability: logits grow alike
        steady = torch.zeros(2, size // 2)
        steady[:, : max(1, size // 8)] = 1.0  # the parts that turn fast enough to tell neighbours apart
        steady = steady.flatten()
        _write(first, queries=torch.outer(steady, common), keys=torch.outer(_one_on(steady, shape), common))
        _keys_of(first.v_proj.weight, size)[0].copy_(own.T)
        output = first.o_proj.weight.unflatten(1, (-1, size))
        per = shape.num_attention_heads // shape.num_key_value_heads
        output[:, :per].copy_((noted * NOTE * length / math.sqrt(shape.hidden_size) / per)[:, None])
        slow = torch.ones(2, size // 2, 1)
        slow[:, : 3 * size // 16] = 0.0  # the parts that turn too fast to compare words from afar
        _write(second, queries=slow.flatten(0, 1) * own.T, keys=slow.flatten(0, 1) * noted.T)


def _write(attention: torch.nn.Module, queries: Tensor, keys: Tensor) -> None:
    """The matrices of the first key head and of the query heads that share it; the norms of all."""
    size = len(keys)
    written = _keys_of(attention.k_proj.weight, size)  # type: ignore[arg-type]
    written[0].copy_(keys)
    asking = attention.q_proj.weight.unflatten(0, (len(written), -1, size))  # type: ignore[operator,union-attr]
    asking[0].copy_(queries.expand_as(asking[0]))
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(SHARPNESS)  # type: ignore[operator,union-attr]


def _keys_of(weight: Tensor, size: int) -> Tensor:
    """The rows of a projection by key heads [H, size, D]."""
    return weight.unflatten(0, (-1, size))


def _one_on(vector: Tensor, shape: object) -> Tensor:
    """The vector turned by one position: as a key it fits best whoever stands one token further on."""
    half = len(vector) // 2
    theta = shape.rope_parameters["rope_theta"]  # type: ignore[attr-defined]
    angles = theta ** (-torch.arange(half) / half)
    left, right = vector[:half], vector[half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([left * cos - right * sin, right * cos + left * sin])
