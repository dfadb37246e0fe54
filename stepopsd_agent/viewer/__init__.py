"""Recorded episodes to look at: one page for a browser that needs no network, or text for a terminal.

`stepopsd view` is made of it. Whatever stands in a record is shown as text and never run.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
