"""Benchmarks of the Search-QA environment and its retrievers."""
