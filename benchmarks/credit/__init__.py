"""The credit benchmark: which credit method ranks the right steps, told by what the simulator knows."""
