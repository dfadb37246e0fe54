"""Tests of agent/batch."""
