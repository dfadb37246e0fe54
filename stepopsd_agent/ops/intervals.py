"""Confidence intervals of proportions."""

import math
from typing import Any


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion; 95 % at the default `z`.

    Unlike the normal interval it stays within [0, 1] and has a width at 0 and at n successes. For n = 0 it is
    (0, 1): nothing is known.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"got {successes} successes of {n}; need 0 <= successes <= n")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    scale = 1 / (1 + z * z / n)
    centre = scale * (p + z * z / (2 * n))
    half = scale * z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the exact bound is 0 or 1, and rounding must not move it.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def proportion(successes: int, n: int) -> dict[str, Any]:
    """Return the `{success, n, ci95}` entry that summaries and evaluation rows hold."""
    return {"success": successes / n if n else 0.0, "n": n, "ci95": list(wilson(successes, n))}
