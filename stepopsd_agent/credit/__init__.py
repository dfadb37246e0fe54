"""Credit methods by name: one file each, loaded when made.

`make("step_opsd", lambda_mix=0.05)` gives a method; calling it on a `Batch` gives a `Credit`. A new method is
one file, a frozen dataclass with its docstrings, and one `register` line in `registry.py`;
`docs/credit-methods.md` is made from the docstrings.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
