"""Pure tensor functions: reductions over steps and groups, losses, schedules, intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
