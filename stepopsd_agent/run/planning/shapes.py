"""The shape of a language model, from its configuration alone: no weights are read, none are made."""

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
)

from stepopsd_agent.config import LoraConfig, ModelConfig
from stepopsd_agent.models import ModelFolderError, hub_problem, tiny_shape

KNOWN: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-1.7B": {
        "model_type": "qwen3",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-3B-Instruct": {
        "model_type": "qwen2",
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
    },
}
"""Published configurations of the models in the recipes of the paper, so that planning them asks no hub."""
_PROBE = 128
"""Tokens of the pass that counts activations."""
_ATTENTION = "stepopsd_plan"


@dataclass(frozen=True)
class Shape:
    """Sizes of a model that memory and time depend on.

    Attributes:
        parameters: weights, tied ones once.
        trained: those that an update changes: all, or an adapter's.
        matrices: trained weights in matrices of the layers, for Muon.
        body: weights that every token is multiplied with, the output layer left out.
        head: weights of the output layer.
        layers: how many.
        hidden: width.
        attention_width: heads times their width.
        kv_width: numbers that the cache keeps of a token in a layer.
        vocabulary: tokens.
        positions: longest row.
        activations: numbers times bytes kept for the backward pass, per token, all layers.
        packs: whether its layers are known to see how a pack is cut; else rows are played and scored padded.
    """

    parameters: int
    trained: int
    matrices: int
    body: int
    head: int
    layers: int
    hidden: int
    attention_width: int
    kv_width: int
    vocabulary: int
    positions: int
    activations: float
    packs: bool


def model_shape(config: ModelConfig, lora: LoraConfig, dtype: torch.dtype) -> Shape:
    """The shape of the model that a run would load.

    Raises:
        ModelFolderError: its configuration cannot be found.
    """
    return shape_of(model_configuration(config), lora, dtype)


def shape_of(configuration: PreTrainedConfig, lora: LoraConfig, dtype: torch.dtype) -> Shape:
    """The shape of a model with this configuration, which is left as it is."""
    copied, packs = deepcopy(configuration), False
    try:
        model = _empty(copied, _ATTENTION, dtype)
        try:
            activations = _kept_bytes(model) / _PROBE
        finally:
            packs = any("attended" in vars(module) for module in model.modules())
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ):  # no attention functions, or a layer that reads its values
        model = _empty(copied, "eager", dtype)
        activations = _most_bytes(model)
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tables = {id(p): p.numel() for end in (model.get_input_embeddings(), head) for p in end.parameters()}
    everything = sum(p.numel() for p in model.parameters())
    trained = _adapter_size(model, lora) if lora.rank else everything
    width = int(getattr(copied, "head_dim", None) or copied.hidden_size // copied.num_attention_heads)
    return Shape(
        parameters=everything,
        trained=trained,
        matrices=sum(p.numel() for p in model.parameters() if p.ndim == 2 and id(p) not in tables),
        body=everything - sum(tables.values()),
        head=head.weight.numel(),
        layers=int(copied.num_hidden_layers),
        hidden=int(copied.hidden_size),
        attention_width=int(copied.num_attention_heads) * width,
        kv_width=_cached_numbers(model) or 2 * width * _key_heads(copied),
        vocabulary=int(copied.vocab_size),
        positions=int(copied.max_position_embeddings),
        activations=activations,
        packs=packs,
    )


def _empty(configuration: PreTrainedConfig, attention: str, dtype: torch.dtype) -> PreTrainedModel:
    """A model without storage."""
    configuration._attn_implementation = attention
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration, dtype=dtype)  # type: ignore[no-untyped-call]
    return model


def model_configuration(config: ModelConfig) -> PreTrainedConfig:
    """The transformers configuration of a model: of a folder, the hub, or the published shapes listed here.

    Raises:
        ModelFolderError: none of these has it.
    """
    if config.path == "tiny":
        return tiny_shape(config, config.vocab_size, end=0)
    if config.path in KNOWN and not os.path.isdir(config.path):
        return AutoConfig.for_model(**KNOWN[config.path])
    gguf = {"gguf_file": config.gguf_file} if config.gguf_file else {}
    path = os.path.expanduser(config.path)
    problem = None if os.path.isdir(path) else hub_problem(path, config.gguf_file)
    try:
        if problem:
            raise OSError(problem)
        read: PreTrainedConfig = AutoConfig.from_pretrained(path, **gguf)
        return read
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelFolderError(
            f"{config.path}: no configuration of a language model there, nor in reach on the hub "
            f"({(str(error) or repr(error)).splitlines()[0]}). Give --model.path a folder with a config.json"
        ) from error


def _adapter_size(model: PreTrainedModel, lora: LoraConfig) -> int:
    """Weights of a low-rank adapter on the layers that it names."""
    named, head = lora.targets.split(","), model.get_output_embeddings()  # type: ignore[no-untyped-call]

    def adapted(name: str, module: nn.Module) -> bool:
        if lora.targets == "all-linear":
            return module is not head
        return any(f".{name}".endswith(f".{target}") for target in named)

    return sum(
        lora.rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and adapted(name, module)
    )


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
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    if "plan" in options:
        vars(module)["attended"] = True
    out: Tensor = _Attend.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(_ATTENTION, _attend)


def _kept_bytes(model: PreTrainedModel) -> int:
    """Bytes that the layers keep for the backward pass over `_PROBE` tokens, counted without computing."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # held, so that no storage of another tensor takes the number

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept.setdefault(storage, tensor)
        return tensor

    ids = torch.zeros(1, _PROBE, dtype=torch.long, device="meta")
    give_back: Callable[[Tensor], Tensor] = lambda tensor: tensor  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(note, give_back):
        out = model.base_model(input_ids=ids, use_cache=False, plan=None).last_hidden_state
    del out
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _cached_numbers(model: PreTrainedModel) -> int:
    """Numbers that the widest layer's cache keeps of a token; 0 where the model keeps another kind of cache.

    Configurations do not always tell: DeepSeek's layers cache what keys and values are computed from.
    """
    ids, cache = torch.zeros(1, _PROBE, dtype=torch.long, device="meta"), DynamicCache()
    try:
        with torch.inference_mode():
            model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        kept = [layer.keys.numel() + layer.values.numel() for layer in cache.layers]  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
        return 0
    return max(kept, default=0) // _PROBE


def _key_heads(configuration: PreTrainedConfig) -> int:
    """Heads of keys; where a configuration does not say how many: all."""
    return int(getattr(configuration, "num_key_value_heads", None) or configuration.num_attention_heads)


def _most_bytes(model: PreTrainedModel) -> float:
    """An upper bound of the same for a token, where it cannot be counted, from the matrices of the layers.

    What goes into each and what comes out of it is kept, once more by the functions between them; and the
    weights of attention, in float32 too, of a row as long as there may be.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ends = {id(p) for end in (model.get_input_embeddings(), head) for p in end.parameters()}
    widths = sum(sum(p.shape[-2:]) for p in model.parameters() if p.ndim > 1 and id(p) not in ends)
    shape = model.config
    heads = int(shape.num_hidden_layers) * int(shape.num_attention_heads)
    return 2.0 * widths * model.dtype.itemsize + 3 * 4 * heads * int(shape.max_position_embeddings)
