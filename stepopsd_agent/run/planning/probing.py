"""Passes through a model without storage: what it keeps, caches, and whether it attends over packs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
)

TOKENS = 128
"""Of the pass that counts activations."""
NAME = "stepopsd_plan"
"""Of the attention that is made for these passes, in transformers."""
UNCOUNTED = (LookupError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError)
"""What such a pass raises where it cannot be made: no attention functions, a layer that reads values, or one
that looks for a state of its own in the cache, as those of Qwen3.5 do."""

CHOSEN = ("num_experts_per_tok", "top_k_experts", "moe_topk", "moe_k")
"""Names in configurations for the number of experts that a token goes through."""


def empty_model(configuration: PreTrainedConfig, attention: str, dtype: torch.dtype) -> PreTrainedModel:
    """A model without storage."""
    configuration._attn_implementation = attention
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration, dtype=dtype)  # type: ignore[no-untyped-call]
    return model


class _Attend(torch.autograd.Function):
    """Stands for attention that never holds its weights: keeps queries, keys, values and what came out."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Of the right shape; the values do not matter."""
        out = torch.empty_like(query)  # in memory as the queries are
        if value.shape[3] != query.shape[3]:
            out = query.new_empty(*query.shape[:3], value.shape[3])
        ctx.save_for_backward(query, key, value, out)
        return out


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    if "plan" in options:
        vars(module)["attended"] = True
        if query.device.type != "meta":
            raise _Over
    out: Tensor = _Attend.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attend)


class _Over(Exception):
    """The first layer has attended, or has ended: all that a pass with values is made for."""


def attended(model: PreTrainedModel) -> bool:
    """Whether a pass has handed the plan of a pack to a layer."""
    return any("attended" in vars(module) for module in model.modules())


def _end(*_: Any) -> None:
    """End a pass, as a hook."""
    raise _Over


def attends_with_values(model: PreTrainedModel) -> bool:
    """The same where layers ask for values before they attend, as JetMoE's do to choose the heads.

    Every weight is a view of a single zero, and the pass ends at the first layer.
    """
    body = model.base_model
    layers = next((part for part in body.modules() if isinstance(part, nn.ModuleList) and len(part)), None)
    if layers is None:
        return False
    named = [*body.named_parameters(), *body.named_buffers()]
    zeros = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in named}
    hook = layers[0].register_forward_hook(_end)
    try:
        with torch.inference_mode():
            functional_call(body, zeros, kwargs=_as_packed(torch.zeros(1, 2, dtype=torch.long)))
    except (_Over, *UNCOUNTED):
        pass
    finally:
        hook.remove()
    return attended(model)


def _as_packed(ids: Tensor) -> dict[str, Any]:
    """The arguments of a pass over a pack, as `models.packed` gives them; the plan is left open."""
    none, positions = (
        torch.zeros(1, 1, 1, 1, device=ids.device),
        torch.arange(ids.shape[1], device=ids.device),
    )
    usual = {"input_ids": ids, "position_ids": positions[None], "attention_mask": none}
    return {**usual, "use_cache": False, "plan": None}


def kept_bytes(model: PreTrainedModel) -> int:
    """Bytes that the layers keep for the backward pass over `TOKENS` tokens, counted without computing."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # held, so that no storage of another tensor takes the number

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept.setdefault(storage, tensor)
        return tensor

    ids = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    give_back: Callable[[Tensor], Tensor] = lambda tensor: tensor  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(note, give_back):
        out = model.base_model(**_as_packed(ids)).last_hidden_state
    del out
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def cached_numbers(model: PreTrainedModel) -> int:
    """Numbers that the widest layer's cache keeps of a token; 0 where the model keeps another kind of cache.

    Configurations do not always tell: DeepSeek's layers cache what keys and values are computed from.
    """
    ids, cache = torch.zeros(1, TOKENS, dtype=torch.long, device="meta"), DynamicCache()
    try:
        with torch.inference_mode():
            model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        kept = [layer.keys.numel() + layer.values.numel() for layer in cache.layers]  # type: ignore[union-attr]
    except UNCOUNTED:
        return 0
    return max(kept, default=0) // TOKENS


def most_bytes(model: PreTrainedModel) -> float:
    """An upper bound of the same for a token, where it cannot be counted, from the matrices of the layers.

    What goes into each and what comes out of it is kept, once more by the functions between them; and the
    weights of attention, in float32 too, of a row as long as there may be. A token goes through some of the
    experts, whose matrices are one tensor.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ends = {id(p) for end in (model.get_input_embeddings(), head) for p in end.parameters()}
    shape = model.config
    chosen = [getattr(shape, name, None) for name in CHOSEN]
    through = max((count for count in chosen if isinstance(count, int)), default=None)  # unknown: all
    widths = sum(
        sum(p.shape[-2:]) * (min(through or len(p), len(p)) if p.ndim > 2 else 1)
        for p in model.parameters()
        if p.ndim > 1 and id(p) not in ends
    )
    heads = int(shape.num_hidden_layers) * int(shape.num_attention_heads)
    return 2.0 * widths * model.dtype.itemsize + 3 * 4 * heads * int(shape.max_position_embeddings)
