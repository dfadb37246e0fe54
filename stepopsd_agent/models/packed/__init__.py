"""Scoring without padding: rows and branches packed into one sequence."""
