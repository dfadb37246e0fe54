"""The batch: three linked tables of tokens, steps and episodes, made from records and audited."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
