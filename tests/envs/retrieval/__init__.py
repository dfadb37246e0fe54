"""Tests of envs/retrieval."""
