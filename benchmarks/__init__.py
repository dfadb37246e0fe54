"""Measurements: each module is a command that prints figures and exits 1 when a target is missed."""
