"""The ``infos`` of vector environments: batch one info per environment, and unbatch them.

Gymnasium turns the infos of n environments into one dict. Each key has an array of length n and a mask
``_key`` of the environments that had the key; nested dicts become dicts of arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def batch_infos(infos: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the same dict as Gymnasium's ``VectorEnv``, built key by key, which is several times as fast.

    Args:
        infos: one info per environment; None for an environment without info. All infos must have the same
            keys and types, as those of the environments in this package.
    """
    given = [info for info in infos if info is not None]
    if not given:
        return {}
    mask = np.array([info is not None for info in infos])
    batched: dict[str, Any] = {}
    for key, example in given[0].items():
        values = [None if info is None else info[key] for info in infos]
        batched[key] = batch_infos(values) if isinstance(example, Mapping) else _column(values, type(example))
        batched[f"_{key}"] = mask.copy()
    return batched


def unbatch_info(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The info of environment ``index``, as it returned it, from the ``infos`` of a vector environment."""
    return {
        key: _value_of(values, index)
        for key, values in infos.items()
        if f"_{key}" in infos and infos[f"_{key}"][index]
    }


def _column(values: list[Any], kind: type) -> np.ndarray[Any, Any]:
    if kind in (int, float, bool):
        return np.array([kind() if value is None else value for value in values], dtype=kind)
    column = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):  # one by one: NumPy would turn lists of equal length into a table
        column[index] = value
    return column


def _value_of(values: Any, index: int) -> Any:
    if isinstance(values, Mapping):
        return unbatch_info(values, index)
    value = values[index]
    return value.item() if isinstance(value, np.generic) else value
