"""What a command says where its engine is gone or cannot do what was asked: how to go on, by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepopsd_agent.cli.main import main
from stepopsd_agent.run.files import save_model
from tests.agent.rollout.engines.test_server import completion
from tests.helpers.chat_server import ChatServer, chat_server
from tests.helpers.models import tiny
from tests.helpers.runs import train_arguments


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A vLLM server that draws as it must, and takes no weights: it was started without a switch."""
    with chat_server(
        lambda body, number: completion([5], [-0.5]) if "prompt" in body else (404, "Not Found")
    ) as http:
        yield http


def test_a_run_whose_engine_fails_says_how_it_goes_on(
    tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is there already, so the command that began the run would be refused."""
    save_model(tiny(), tmp_path / "model")
    out = tmp_path / "a run"
    served = ["--rollout.backend=vllm", f"--rollout.url={server.url}"]
    for command in (train_arguments(tmp_path / "model", out, *served), ["train", "--resume", str(out)]):
        assert main(command) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "start it with VLLM_SERVER_DEV_MODE=1" in last
        assert last.endswith(f"; then continue with: stepopsd train --resume '{out}'")


def test_an_evaluation_whose_engine_fails_says_how_it_goes_on(
    tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own command; one that keeps nothing has no folder to go on with."""
    save_model(tiny(), tmp_path / "model")
    command = ["eval", f"--model.path={tmp_path / 'model'}", "--env.tier=tiny", "--eval.num_games=1"]
    command += ["--rollout.backend=vllm", f"--rollout.url={server.url}"]
    for more in ([], [f"--out={tmp_path / 'out'}"]):
        assert main([*command, *more]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "start it with VLLM_SERVER_DEV_MODE=1" in last
        assert last.endswith(f"; then go on with: stepopsd eval --resume {tmp_path / 'out'}") == bool(more)
        assert "stepopsd train" not in last
