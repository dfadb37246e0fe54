"""What a run will take: memory, tokens and time, before anything runs."""
