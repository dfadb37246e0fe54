"""Tests of agent/viewer."""
