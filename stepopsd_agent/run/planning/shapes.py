"""The shape of a language model, from its configuration alone: no weights are read, none are made."""

import os
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from stepopsd_agent.config import LoraConfig, ModelConfig
from stepopsd_agent.models import ModelFolderError, check_configuration, hub_problem, tiny_shape
from stepopsd_agent.run.planning.probing import (
    NAME,
    TOKENS,
    UNCOUNTED,
    attended,
    attends_with_values,
    cached_numbers,
    empty_model,
    kept_bytes,
    most_bytes,
)

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
        ModelFolderError: its configuration cannot be found, or the run would refuse it.
    """
    configuration = model_configuration(config)
    check_configuration(config.path, configuration)
    return shape_of(configuration, lora, dtype)


def shape_of(configuration: PreTrainedConfig, lora: LoraConfig, dtype: torch.dtype) -> Shape:
    """The shape of a model with this configuration, which is left as it is."""
    copied, packs = deepcopy(configuration), False
    try:
        model = empty_model(copied, NAME, dtype)
        try:
            activations = kept_bytes(model) / TOKENS
        finally:
            packs = attended(model) or attends_with_values(model)
    except UNCOUNTED:
        model = empty_model(copied, "eager", dtype)
        activations = most_bytes(model)
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tables = {id(p): p.numel() for end in (model.get_input_embeddings(), head) for p in end.parameters()}
    everything = sum(p.numel() for p in model.parameters())
    trained = _adapter_size(model, lora) if lora.rank else everything
    width = _head_width(copied)
    return Shape(
        parameters=everything,
        trained=trained,
        matrices=sum(p.numel() for p in model.parameters() if p.ndim == 2 and id(p) not in tables),
        body=everything - sum(tables.values()),
        head=head.weight.numel(),
        layers=int(copied.num_hidden_layers),
        hidden=int(copied.hidden_size),
        attention_width=int(copied.num_attention_heads) * width,
        kv_width=cached_numbers(model) or 2 * width * _key_heads(copied),
        vocabulary=int(copied.vocab_size),
        positions=int(copied.max_position_embeddings),
        activations=activations,
        packs=packs,
    )


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


def _head_width(configuration: PreTrainedConfig) -> int:
    """Width of a head, the widest where layers differ, as those of Gemma 4 do."""
    usual = configuration.hidden_size // configuration.num_attention_heads
    differ = getattr(configuration, "is_heterogeneous", False)
    layers = configuration.per_layer_config if differ else (configuration,)
    return max(int(getattr(layer, "head_dim", None) or usual) for layer in layers)


def _key_heads(configuration: PreTrainedConfig) -> int:
    """Heads of keys; where a configuration does not say how many: all."""
    return int(getattr(configuration, "num_key_value_heads", None) or configuration.num_attention_heads)
