"""Tests of agent/rollout."""
