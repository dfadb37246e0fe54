"""Name and version of an engine, which every record and result contains."""

import importlib.metadata

NATIVE_VERSION = 1  # increase it when a change alters an answer, an admissible command or a state hash


def engine_version(engine: str) -> str:
    """``native/1``, or for another engine its name and the version of the package with that name."""
    return f"{engine}/{NATIVE_VERSION if engine == 'native' else importlib.metadata.version(engine)}"
