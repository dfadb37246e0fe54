"""The hindsight teacher: its context, and its log-probabilities of the sampled tokens."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
