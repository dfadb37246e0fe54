"""Tests of envs/search_qa."""
