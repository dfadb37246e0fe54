"""``stepopsd play``: a task at the keyboard, or from a pipe."""

import argparse
from typing import Any

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import settings_checked
from stepopsd_agent.cli.common import run_config
from stepopsd_agent.cli.keyboard import ask, completes, is_typed, show, show_list, use_keyboard
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.tasks import get, make_plain_env

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
    with settings_checked(config.env):
        env = make_plain_env(config.env, render_mode="ansi")
    game: str | None = settings.get("game")
    chosen = None if game is None else {env.get_wrapper_attr("task_option"): game}
    text, info = env.reset(seed=config.seed, options=chosen)
    use_keyboard()
    tab = ", the tab key completes them" if completes() else ""
    listed = f"? lists the commands{tab}, " if _commands(info) else ""
    show(f"{text}\n\n({listed}ctrl-d leaves)")
    steps, setting = env.get_wrapper_attr("step_limit"), get(config.env.id).limit
    over, info = _play(env, info, steps)
    limit = "" if not over or info["step"]["terminal"] else f"; the limit is {steps} ({setting})"
    played = _count(info["step"]["index"], "command")
    print(f"{'You did it' if info['won'] else 'Not done'}: {played}{limit}.")
    return 0


def _play(env: gym.Env[str, str], info: Info, step_limit: int) -> tuple[bool, Info]:
    """Play until the game or the input ends; return whether the game ended, and the last info."""
    over = False
    while not over:
        show(f"\n{_status(info, step_limit)}")
        command = ask(_commands(info))
        if command is None:
            break
        if command == "?" and _commands(info):
            show_list(_commands(info))
            continue
        _, _, terminated, truncated, info = env.step(command)
        show(_answer(str(env.render())))
        over = bool(terminated or truncated)
    return over, info


def _commands(info: Info) -> list[str]:
    """The admissible commands; empty where the environment takes any text."""
    return list(info.get("admissible_commands", []))


def _status(info: Info, step_limit: int) -> str:
    """The task and the steps left, shown before each prompt so that neither scrolls away."""
    left = step_limit - info["step"]["index"]
    listed = ", ? lists them" if _commands(info) else ""
    hint = "" if info["step"]["valid"] else f"; that command is not possible here{listed}"
    return f"[{info['goal']} {_count(left, 'step')} left{hint}]"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _answer(exchange: str) -> str:
    """Return the exchange, without the command where the person has typed it on the terminal."""
    return exchange.partition("\n")[2] if is_typed() else exchange.removeprefix("> ")
