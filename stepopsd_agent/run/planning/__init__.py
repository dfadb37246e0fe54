"""Plans: the memory, tokens and time that a run will take, before anything runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
