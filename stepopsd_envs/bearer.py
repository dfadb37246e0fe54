"""Secrets from the environment that travel in a header of HTTP."""

import os


def bearer_secret(variable: str, given: str | None = None) -> str:
    """The secret without blanks around it, as files of secrets end in a line break; empty if there is none.

    Args:
        variable: environment variable that holds it.
        given: the secret, if the caller knows it; None: that of the variable.

    Raises:
        ValueError: a header cannot hold it. Python's own error would quote it, and records quote errors.
    """
    secret = (os.environ.get(variable, "") if given is None else given).strip()
    if not secret.isprintable() or any(ord(char) > 0xFF for char in secret):
        raise ValueError(
            f"{variable} has a line break, or another character that no header of HTTP takes; set it to the "
            "secret alone, on one line"
        )
    return secret
