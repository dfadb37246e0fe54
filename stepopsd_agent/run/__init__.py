"""A training run: the loop, its files, its alarms and its plan."""
