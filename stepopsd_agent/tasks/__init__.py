"""Environments to train on: what each must bring, the registry, and the agents that play them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
