"""The classes for a plugin of verifiers, which finds a taskset by the name of a module."""

from typing import Any

from stepopsd_envs.extras import install_command


def verifiers_classes() -> tuple[Any, Any]:
    """The taskset class, and the environment class that plays its tasks, for a module's `__all__`.

    Raises:
        ImportError: verifiers is not installed.
    """
    try:
        from stepopsd_agent.adapters.verifiers_taskset import TextGameEnv, TextTaskset
    except ImportError as error:
        raise ImportError(f"a taskset for verifiers needs it: {install_command('verifiers')}") from error
    return TextTaskset, TextGameEnv
