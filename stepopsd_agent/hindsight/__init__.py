"""The hindsight teacher: what it is told, and what it makes of the sampled tokens."""
