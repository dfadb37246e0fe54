"""Tests of agent/tasks."""
