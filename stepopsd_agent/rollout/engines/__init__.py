"""Engines that draw tokens elsewhere than in the policy's own network: vLLM in this process, or a server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
