"""Gymnasium text environments that say in ``info["step"]`` where each agent step begins and ends.

Importing this package registers the environments' ids and imports nothing heavy.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

gym.register(id="stepopsd/ALFWorld-v0", entry_point="stepopsd_envs.alfworld.env:AlfworldEnv")


def unbatch_info(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The info dict of one environment, exactly as it gave it, out of a vector environment's ``infos``.

    Gymnasium keeps, beside the values of a key, a mask ``_key`` that says which environments had the key.
    """
    return {
        key: _value_of(values, index)
        for key, values in infos.items()
        if f"_{key}" in infos and infos[f"_{key}"][index]
    }


def _value_of(values: Any, index: int) -> Any:
    if isinstance(values, Mapping):
        return unbatch_info(values, index)
    value = values[index]
    return value.item() if isinstance(value, np.generic) else value
