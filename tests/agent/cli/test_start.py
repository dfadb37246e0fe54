"""The start of the command, before there is anything to keep."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import TINY
from tests.helpers.runs import environment

SLOW = """
import sys, time
print("loading", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_trace(tmp_path: Path) -> None:
    """A module that it imports takes long: here, for the test, a minute."""
    (tmp_path / "jsonargparse.py").write_text(SLOW, encoding="utf-8")
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "stepopsd_agent", "credit", "list"],
        stdout=pipe,
        stderr=pipe,
        env={**environment(), "PYTHONPATH": path},
        text=True,
    ) as loading:
        assert loading.stdout is not None and loading.stderr is not None
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(signal.SIGINT)
        assert loading.stderr.read() == ""
    assert loading.returncode == -signal.SIGINT  # for which a shell gives 130


def test_ctrl_c_is_heeded_by_the_loaded_command() -> None:
    """What was set before the start is set again: commands end in an orderly way."""
    code = (
        "import signal, sys; import stepopsd_agent.cli.main as loaded\n"
        "from stepopsd_agent.__main__ import main\n"
        "loaded.main = lambda: print(signal.getsignal(signal.SIGINT) is {wanted}) or 0\n"
        "{before}; raise SystemExit(main())"
    )
    for before, wanted in (
        ("pass", "signal.default_int_handler"),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN)", "signal.SIG_IGN"),
    ):
        command = [sys.executable, "-c", code.format(before=before, wanted=wanted)]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        assert (ended.stdout, ended.returncode) == ("True\n", 0), ended.stderr


@pytest.mark.parametrize(
    "played", [["record", "--agent=random", "--episodes=1"], ["eval", "--agent=expert", "--eval.num_games=1"]]
)
def test_agents_without_a_model_play_without_loading_what_models_need(
    played: list[str], tmp_path: Path
) -> None:
    """That takes longer than the play. PyTorch is loaded for the settings of credit methods."""
    code = (
        "import sys; from stepopsd_agent.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print([name for name in ('transformers', 'stepopsd_agent.models.policy') if name in sys.modules])"
    )
    command = [*played, *TINY, f"--out={tmp_path / 'out'}"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, env=environment(), check=False
    )
    assert ended.stdout.endswith("\n[]\n"), ended.stdout + ended.stderr
