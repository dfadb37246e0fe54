"""The name and version of an engine, which stand in every record and result."""

import importlib.metadata

NATIVE_VERSION = 1  # raise it when a change alters an answer, an admissible command or a state hash


def engine_version(engine: str) -> str:
    """``native/1``, or the engine's name with the version of the package of that name."""
    return f"{engine}/{NATIVE_VERSION if engine == 'native' else importlib.metadata.version(engine)}"
