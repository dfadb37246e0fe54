"""An optimizer's state as tensors and JSON, for checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take an optimizer's state apart: tensors named "<parameter>.<name>", and the rest, which JSON holds."""
    full = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in full["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    groups = [
        {key: list(value) if isinstance(value, tuple) else value for key, value in group.items()}
        for group in full["param_groups"]
    ]
    return tensors, {"param_groups": groups, "plain": plain}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Put back what `optimizer_tensors` took apart; the optimizer then goes on exactly as the saved one.

    Rates and other settings of its groups are its own: a run may be continued with others.

    Raises:
        ValueError: the optimizer has other parameter groups than the saved one.
    """
    present = optimizer.state_dict()["param_groups"]
    saved = state["param_groups"]
    sizes, saved_sizes = ([len(group["params"]) for group in groups] for groups in (present, saved))
    if sizes != saved_sizes:
        raise ValueError(
            f"the checkpoint's optimizer has parameter groups of sizes {saved_sizes}, this one {sizes}; "
            "resume with the model and the optimizer settings of the run that wrote it"
        )
    entries: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in state["plain"].items()
    }
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        entries.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": present})
