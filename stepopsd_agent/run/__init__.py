"""A training run: the loop over updates, its files, its alarms and its plan."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
