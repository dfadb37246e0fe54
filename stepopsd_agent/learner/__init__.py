"""The policy update, and everything that has to be computed or trained for it."""
