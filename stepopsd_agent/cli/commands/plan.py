"""``stepopsd plan``."""

import argparse
from collections.abc import Sequence

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import (
    UsageError,
    check_environment,
    check_numbers,
    check_sharding,
    settings_checked,
)
from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.engine_checks import check_shared_play, tell_unread
from stepopsd_agent.cli.parser import Parser

HELP = "say what memory, tokens and time a training run will take, before anything runs"
USES = frozenset("seed device threads updates env model rollout eval hindsight learner critic credit".split())


def add_flags(parser: Parser) -> None:
    """Assumptions of the plan that replace measurements."""
    absent = argparse.SUPPRESS  # a default would get into --print_config
    parser.usage = "stepopsd plan [CONFIG] [--config FILE] [--SETTING VALUE ...]"
    flags: dict[str, tuple[type, str, str]] = {
        "rate": (float, "TFLOP/S", "matmul rate of the device"),
        "bandwidth": (float, "GB/S", "speed of its memory"),
        "memory": (float, "GIB", "its size; the run is refused if it cannot fit"),
        "processes": (int, "N", "processes that torchrun is to start (default: 1)"),
        "steps": (float, "N", "steps per episode to assume"),
        "response_tokens": (float, "N", "tokens per response likewise"),
    }
    for name, (values, metavar, says) in flags.items():
        parser.add_argument(f"--{name}", type=values, default=absent, metavar=metavar, help=says)


def prepare(arguments: Sequence[str]) -> Sequence[str]:
    """``plan FILE`` is short for ``plan --config FILE``."""
    if arguments[1:2] and not arguments[1].startswith("-"):
        return ["plan", "--config", *arguments[1:]]
    return arguments


def run(settings: Namespace) -> int:
    """Print memory, tokens and time to expect."""
    from stepopsd_agent.run.planning import expected_lengths, plan_text

    config = config_of(settings)
    check_numbers(config)
    check_environment(config)
    chosen = settings.credit.as_dict()
    with settings_checked():
        method = credit.make(chosen.pop("method"), **chosen)
    check_sharding(config, method.needs)
    processes = settings.get("processes", 1)
    if processes < 1:
        raise UsageError(f"--processes is {processes}; give 1 or more")
    check_shared_play(config, processes > 1 or config.learner.sharding != "none")
    tell_unread(config)
    for name in ("rate", "bandwidth", "memory", "steps", "response_tokens"):
        if name in settings and settings[name] <= 0:
            raise UsageError(f"--{name} is {settings[name]:g}; give a number above 0")
    with settings_checked(config.env):
        expected = expected_lengths(config, settings.get("steps"), settings.get("response_tokens"))
    text, refusal = plan_text(
        config,
        method.needs,
        expected,
        rate=settings.get("rate"),
        bandwidth=settings.get("bandwidth"),
        processes=processes,
        memory=settings.get("memory"),
    )
    print(text)
    if refusal is not None:
        raise UsageError(refusal)
    return 0
