"""Low-rank adapters (LoRA, arXiv 2106.09685) through ``peft``: small matrices train, the model stays.

The model under the adapter is the reference for free: it is the same network with the adapter switched off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stepopsd_agent.config import LoraConfig
from stepopsd_envs.extras import install_command

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

ADAPTER = "default"


def add_adapter(model: torch.nn.Module, config: LoraConfig, seed: int) -> None:
    """Put an adapter into the model, in place, and freeze the rest; at first it changes nothing.

    Raises:
        ImportError: peft is not installed.
        ValueError: no layer of the model is called as the targets say.
    """
    peft = _peft()
    targets: str | list[str] = config.targets if config.targets == "all-linear" else config.targets.split(",")
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha or config.rank,
        lora_dropout=0.0,  # the ratio to the policy that sampled has to begin at 1
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays untouched
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(settings, model, adapter_name=ADAPTER)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()  # a half-precision weight swallows small updates


def adapter_layers(model: torch.nn.Module) -> "list[BaseTunerLayer]":
    """The layers that carry an adapter."""
    _peft()
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


@contextmanager
def switched_off(model: torch.nn.Module) -> Iterator[None]:
    """The model as it was before it got its adapter."""
    layers = adapter_layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Weights of a plain model that computes the same, under the names it has there."""
    from peft.tuners.lora import LoraLayer

    added: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            layer: Any = module  # the base class does not declare what every kind of layer has
            added[f"{name}.weight"] = layer.get_delta_weight(ADAPTER)
    merged = {}
    for name, weight in model.state_dict().items():
        plain = name.replace(".base_layer.", ".")
        if ".lora_" not in name:
            merged[plain] = weight.detach() + added[plain].to(weight.dtype) if plain in added else weight
    return merged


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError(
            "learner.lora.rank > 0 trains an adapter, which needs peft; install it with: "
            f"{install_command('lora')}, or set learner.lora.rank to 0"
        ) from error
    return peft
