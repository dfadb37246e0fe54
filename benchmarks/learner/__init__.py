"""Benchmarks of the learner: golden credit, cost of scoring, speed of updates, endurance."""
