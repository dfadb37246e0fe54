"""Tests of agent/adapters."""
