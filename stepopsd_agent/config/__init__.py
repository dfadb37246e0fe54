"""The settings of a run, as dataclasses that YAML files and flags are made from."""
