"""Benchmarks: each module is a command that prints figures and exits with code 1 if a target is missed."""
