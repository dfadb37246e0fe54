"""The settings of a run, as dataclasses that YAML files and flags are made from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
