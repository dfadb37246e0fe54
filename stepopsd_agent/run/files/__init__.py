"""Files of a run: checkpoints, rows of metrics, model folders, pictures."""
