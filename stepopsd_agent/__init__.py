"""Agents, per-step credit assignment and the learner of StepOPSD.

Importing this package imports nothing heavy; each module is imported where it is used.
"""
