"""How right credit is: what methods say of recorded steps against what is known about them.

Pure functions; `stepopsd credit compare` and `benchmarks.credit.accuracy` are made of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
