"""Tests of agent/run."""
