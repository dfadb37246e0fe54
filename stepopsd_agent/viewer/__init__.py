"""Views of recorded episodes: one HTML page that needs no network, or text for a terminal.

`stepopsd view` is made of it. The content of records is shown as text and never executed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
