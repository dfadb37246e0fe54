"""Benchmarks of the ALFWorld environment: parity with the original, determinism, speed, oracle."""
