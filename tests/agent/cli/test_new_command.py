"""A command is one file: it is found by itself and has what all commands have."""

import subprocess
import sys
from pathlib import Path


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
