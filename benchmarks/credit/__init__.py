"""The credit benchmark: which credit method ranks steps as the simulator's ground truth does."""
