"""Plans: the memory, tokens and time that a run will take, before anything runs."""
