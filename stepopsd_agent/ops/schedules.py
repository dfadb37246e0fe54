"""Factors over updates, counted from 0; pure functions, so a resumed run sees the same."""


def linear(update: int, decay_updates: int) -> float:
    """1 at update 0, on a line to 0 at `decay_updates`, 0 after: max(0, 1 - update / decay_updates)."""
    if decay_updates < 1:
        raise ValueError(
            f"decay_updates is {decay_updates}; it must be at least 1 (for no decay use `constant`)"
        )
    return max(0.0, 1.0 - _checked(update) / decay_updates)


def constant(update: int) -> float:
    """1 at every update."""
    _checked(update)
    return 1.0


def learning_rate(update: int, updates: int, kind: str, warmup: int) -> float:
    """Factor of the learning rate at one of a run's ``updates``.

    It rises on a line over the first ``warmup`` updates and stands at its height in the one after them. With
    kind "linear" it falls besides, from 1 at the first update to 1 / updates at the last.
    """
    rising = min(1.0, (_checked(update) + 1) / (warmup + 1))
    return rising * (linear(update, updates) if kind == "linear" else 1.0)


def _checked(update: int) -> int:
    if update < 0:
        raise ValueError(f"update is {update}; updates count from 0")
    return update
