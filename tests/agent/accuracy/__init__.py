"""Tests of agent/accuracy."""
