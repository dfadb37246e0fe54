"""Tests of agent/learner."""
