"""Playing episodes: who acts, in which environments, and what comes of it."""
