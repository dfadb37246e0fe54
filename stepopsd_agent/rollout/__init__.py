"""Playing episodes: any agent, any number of environments, one road to the records."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
