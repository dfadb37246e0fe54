"""Serves a registered text environment to the clients of OpenEnv."""

from typing import Any

from stepopsd_agent.config import EnvConfig
from stepopsd_envs.extras import install_command


def openenv_app(env: EnvConfig, sessions: int = 16) -> Any:
    """A FastAPI application that plays an environment in the protocol of OpenEnv 0.10.

    An action is ``{"text": ...}``, an observation has `text`, and in its `metadata` the task, `won`, `step`
    and whether the episode was `terminated` or `truncated`. A reset takes `seed`, and `task_id` or `split`
    and `index`.

    Args:
        env: the environment, by its Gymnasium id; layout and format of responses play no part.
        sessions: clients at once, each with an environment of its own.

    Raises:
        ImportError: OpenEnv is not installed.
        ValueError: there is no such environment or setting.
    """
    if sessions < 1:
        raise ValueError(f"sessions is {sessions}; give 1 or more")
    try:
        from stepopsd_agent.adapters.openenv_server import make_app
    except ImportError as error:
        raise ImportError(f"a server for OpenEnv needs it: {install_command('openenv')}") from error
    return make_app(env, sessions)
