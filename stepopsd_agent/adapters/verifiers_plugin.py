"""The classes for a plugin of verifiers, which finds a taskset by the name of a module."""

from typing import Any


def verifiers_classes() -> tuple[Any, Any]:
    """The taskset class, and the environment class that plays its tasks, for a module's `__all__`.

    Raises:
        ImportError: verifiers is not installed.
    """
    try:
        from stepopsd_agent.adapters.verifiers_taskset import TextGameEnv, TextTaskset
    except ImportError as error:
        raise ImportError(
            "a taskset for verifiers needs the extra verifiers: pip install 'stepopsd[verifiers]'"
        ) from error
    return TextTaskset, TextGameEnv
