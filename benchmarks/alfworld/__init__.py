"""The ALFWorld environment: equal to the original, deterministic, fast, solvable."""
