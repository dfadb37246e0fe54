"""Comparison of generated houses with official ones, and the statistics behind the generator."""
