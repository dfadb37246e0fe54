"""``stepopsd play``: a task at the keyboard, or from a pipe."""

import argparse
import io
import sys
from types import ModuleType
from typing import Any

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import settings_checked
from stepopsd_agent.cli.common import run_config
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.tasks import get, make_plain_env
from stepopsd_envs.rendering import for_terminal, in_columns

HELP = "play a task yourself at the keyboard"
USES = frozenset({"seed", "env"})
Info = dict[str, Any]


def add_flags(parser: Parser) -> None:
    """The task."""
    parser.add_argument(
        "--game", type=str, default=argparse.SUPPRESS, help="id or path of the task; else the seed draws it"
    )


def run(settings: Namespace) -> int:
    """Play one task; only the environment's own texts are shown."""
    config = run_config(settings)
    with settings_checked():
        env = make_plain_env(config.env, render_mode="ansi")
    game: str | None = settings.get("game")
    chosen = None if game is None else {env.get_wrapper_attr("task_option"): game}
    text, info = env.reset(seed=config.seed, options=chosen)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are no reason to end the game
    tab = "" if _readline() is None else ", the tab key completes them"
    listed = f"? lists the commands{tab}, " if _commands(info) else ""
    _show(f"{text}\n\n({listed}ctrl-d leaves)")
    steps, setting = env.get_wrapper_attr("step_limit"), get(config.env.id).limit
    over, info = _play(env, info, steps)
    limit = "" if not over or info["won"] else f"; the limit is {steps} ({setting})"
    played = _count(info["step"]["index"], "command")
    print(f"{'You did it' if info['won'] else 'Not done'}: {played}{limit}.")
    return 0


def _play(env: gym.Env[str, str], info: Info, step_limit: int) -> tuple[bool, Info]:
    """Ask and answer until the game or the input ends: whether it was the game, and the last info."""
    over = False
    while not over:
        _show(f"\n{_status(info, step_limit)}")
        command = _ask(_commands(info))
        if command is None:
            break
        if command == "?" and _commands(info):
            _list(_commands(info))
            continue
        _, _, terminated, truncated, info = env.step(command)
        _show(_answer(str(env.render())))
        over = bool(terminated or truncated)
    return over, info


def _commands(info: Info) -> list[str]:
    """The admissible commands; empty where the environment takes any text."""
    return list(info.get("admissible_commands", []))


def _status(info: Info, step_limit: int) -> str:
    """The task and the steps left, shown before each prompt so that neither scrolls away."""
    left = step_limit - info["step"]["index"]
    listed = ", ? lists them" if _commands(info) else ""
    hint = "" if info["step"]["valid"] else f"; that was no possible command{listed}"
    return f"[{info['goal']} {_count(left, 'step')} left{hint}]"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _ask(commands: list[str]) -> str | None:
    """The next command, None at the end of input; one from a pipe is shown, as if it were typed."""
    _complete(commands)
    try:
        command = input("> ").strip()
    except EOFError:
        print()
        return None
    if command == "?" and not sys.stdin.isatty():
        print(command)
    return command


def _answer(exchange: str) -> str:
    """The exchange without its first line, the command, where that is on the screen already."""
    return exchange.partition("\n")[2] if sys.stdin.isatty() else exchange.removeprefix("> ")


def _list(commands: list[str]) -> None:
    print(in_columns(commands) if sys.stdout.isatty() else "\n".join(commands))


def _show(text: str) -> None:
    print(for_terminal(text, sys.stdout.encoding or "utf-8"), flush=True)


def _complete(commands: list[str]) -> None:
    """Let the tab key complete commands and the arrow keys bring them back, where the terminal can."""
    readline = _readline()
    if readline is None:
        return
    readline.set_completer_delims("")  # a command is more than its last word
    readline.set_completer(lambda text, number: [*(c for c in commands if c.startswith(text)), None][number])
    readline.parse_and_bind("tab: complete")


def _readline() -> ModuleType | None:
    """Not every Python has it; and importing it is enough to change what ``input`` does."""
    if not sys.stdin.isatty():
        return None
    try:
        import readline
    except ImportError:
        return None
    return readline
