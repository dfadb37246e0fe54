"""A command is one file: it is found by itself and has what all commands have."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stepopsd_agent.cli.main import COMMANDS
from stepopsd_agent.cli.parser import checked_command


def test_cli_a_new_command_is_a_new_file(tmp_path: Path) -> None:
    """Nothing else has to be changed; words behind flags and errors are read as everywhere."""
    (tmp_path / "say_hello.py").write_text(HELLO)
    start = (
        f"import sys; from stepopsd_agent.cli import commands; commands.__path__.append({str(tmp_path)!r}); "
        "from stepopsd_agent.cli.main import main; sys.exit(main())"
    )

    def said(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", start, *words], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    assert said("say-hello", "--times", "2", "Ada") == (0, "Hello Ada, Hello Ada", "")
    assert said("say-hello", "--times", "0", "Ada") == (
        2,
        "",
        "stepopsd: error: --times is 0; give 1 or more",
    )
    assert "greet somebody" in said("--help")[1]


HELLO = """
from stepopsd_agent.cli.checks import UsageError
HELP = "greet somebody"
USES = frozenset()
def add_flags(parser):
    parser.add_argument("name", nargs="?")
    parser.add_argument("--times", type=int, default=1)
def run(settings):
    if settings.times < 1:
        raise UsageError(f"--times is {settings.times}; give 1 or more")
    print(", ".join([f"Hello {settings.name}"] * settings.times))
    return 0
"""


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"HELP": ""}, "no HELP, a line of text"),
        ({"HELP": None}, "no HELP, a line of text"),
        ({"USES": {"env"}}, "no USES, a frozenset of settings"),
        ({"USES": frozenset({"evn"})}, "USES has evn, and the settings are alarms, checkpoint_every"),
        ({"run": None, "add_flags": None}, r"no add_flags\(...\); no run\(...\)"),
    ],
)
def test_cli_a_file_that_is_no_command_is_named(parts: dict[str, object], fault: str) -> None:
    """Instead of an attribute error in the middle of another command."""
    module = ModuleType("greet")
    module.__file__ = "cli/commands/greet.py"
    vars(module).update(HELP="greet", USES=frozenset(), add_flags=print, run=print)
    assert checked_command(module).HELP == "greet"
    vars(module).update(parts)
    with pytest.raises(TypeError, match=rf"greet.py is no command: {fault}"):
        checked_command(module)


def test_cli_commands_are_what_they_are_called() -> None:
    """Files whose name is a word of Python have an underscore behind it."""
    assert {"import", "eval", "check-model"} <= set(COMMANDS) and "helper" not in COMMANDS
