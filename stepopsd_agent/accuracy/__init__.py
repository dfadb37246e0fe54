"""Accuracy of credit: what methods give to recorded steps, compared with ground truth.

Pure functions; `stepopsd credit compare` and `benchmarks.credit.accuracy` are made of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
