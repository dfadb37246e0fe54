"""An environment's own errors, with its arguments named as a command line or a config file sets them."""

import re
from dataclasses import fields

from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import EvalSet, constructor_settings, get


def in_settings(message: str, played: EnvConfig | EvalSet) -> str:
    """The message with ``env.games=`` for ``games=``, or ``eval.games=`` where evaluation has its own.

    Left alone are words that only happen to be the name of an argument: counted are ``name=``, a name of
    several words, and one that begins the message and is said to be or to have something.

    Args:
        message: of an environment's constructor, which knows its arguments alone.
        played: what was to be made.
    """
    env = played.env if isinstance(played, EvalSet) else played
    settings = {name: f"env.{name}" for name in constructor_settings(env.id)}
    if isinstance(played, EvalSet) and played.name:
        own = (spec.name for spec in fields(get(env.id).held_out))
        settings |= {name: f"eval.{name}" for name in own}
    ordered = sorted(map(re.escape, settings), key=len, reverse=True)
    names = "|".join(ordered)
    forms = [rf"({names})(?==)", rf"\A({names})(?= is | has )"]
    if long := "|".join(name for name in ordered if "_" in name):
        forms.append(rf"({long})(?![\w/-]|\.\w)")
    return re.sub(rf"(?<![\w/.-])(?:{'|'.join(forms)})", lambda found: settings[found[0]], message)
