"""Tests of envs/alfworld."""
