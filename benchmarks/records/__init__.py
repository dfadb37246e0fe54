"""Measurements of records: what a kill leaves, and what recording costs."""
