"""Tests of agent/credit."""
