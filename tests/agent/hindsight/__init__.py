"""Tests of agent/hindsight."""
