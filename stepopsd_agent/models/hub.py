"""The hub, before it is asked for a model: whether it answers at all."""

import ssl
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

PATIENCE = 5.0
"""Seconds for the one request that finds out whether the hub can be reached."""


def hub_problem(name: str, gguf_file: str | None = None) -> str | None:
    """Why a model cannot be fetched from the hub, or None where it may be: it is cached, or the hub answers.

    The hub's own client repeats a request that reaches nobody for most of a minute.

    Args:
        name: of a model, such as "Qwen/Qwen3-1.7B".
        gguf_file: the file that is to be read, where it is not the model's own.
    """
    from huggingface_hub import constants, try_to_load_from_cache  # which transformers brings

    try:
        if isinstance(try_to_load_from_cache(name, gguf_file or "config.json"), str):
            return None
    except ValueError:  # no name on the hub, which its own client says better
        return None
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, so the hub is not asked, and the model is not in its cache"
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:  # it answers
        return None
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLError):  # it answers; which certificates to trust its client knows
            return None
        return (
            f"the hub at {constants.ENDPOINT} cannot be reached ({reason}), and the model is not in its cache"
        )
    return None
