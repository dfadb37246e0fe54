"""`--agent openai` against ``transformers serve`` itself, with a small model of this project."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.runs.transformers_server import NEEDED, TransformersServer, transformers_server
from stepopsd_agent.run.files import save_model
from stepopsd_envs.extras import install_command
from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import refusal, run
from tests.helpers.models import tiny

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"  # where the server looks for the beginning of a response
)
GAMES = ["--agent=openai", "--env.tier=tiny", "--env.step_limit=8", "--eval.num_games=6"]
QUICK = ["--openai.retries=1", "--openai.backoff=0.01", "--openai.concurrency=3", "--rollout.max_tokens=4"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersServer]:
    """One that answers at random: the model was never trained."""
    for package in NEEDED:
        pytest.importorskip(package, reason=f"transformers serve needs {package}: {install_command('dev')}")
    folder = tmp_path_factory.mktemp("served")
    policy = tiny()
    policy.tokenizer.chat_template = TEMPLATE
    save_model(policy, folder / "small")
    with transformers_server(folder / "small", folder / "server.log") as running:
        yield running


def kill_after(rows: int, server: TransformersServer, requests: Path) -> threading.Thread:
    """Kill the server as soon as so many steps are answered."""

    def watch() -> None:
        while not requests.exists() or requests.read_bytes().count(b"\n") < rows:
            time.sleep(0.002)
        server.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def told(out: Path) -> dict[str, list[str]]:
    """Responses by task; a task that was played to its end stands once."""
    played = [episode for episode in read_episodes(out / "episodes") if not episode.failed]
    found = {episode.task_id: [step.response or "" for step in episode.steps] for episode in played}
    assert len(found) == len(played)
    return found


def test_transformers_server_is_killed_and_the_evaluation_goes_on(
    server: TransformersServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tokens are counted; episodes that lost it are failures, and are played when it is back."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    flags = ["eval", *GAMES, *QUICK, f"--openai.url={server.url}", "--eval.temperature=0"]
    named = [*flags, f"--openai.model={server.model}"]
    assert run(*named, f"--out={whole}") == 0
    rows = [json.loads(line) for line in (whole / "requests.jsonl").read_text().splitlines()]
    assert len(rows) == 48 and all(0 < row["completion_tokens"] <= 4 for row in rows)
    assert all(row["prompt_tokens"] > 50 and row["tries"] == 1 for row in rows)
    killing = kill_after(30, server, out / "requests.jsonl")  # three at a time take eight steps each
    assert run(*named, f"--out={out}") == 0
    killing.join()
    failed = [episode for episode in read_episodes(out / "episodes") if episode.failed]
    assert failed and all("ServedModelError" in episode.steps[-1].agent_error for episode in failed)
    assert f"stepopsd eval --resume {out}" in capsys.readouterr().out
    before = told(out)
    assert "refused" in refusal(capsys, "eval", f"--resume={out}")
    server.start()
    assert run("eval", f"--resume={out}") == 0
    assert told(out) == told(whole) and before.items() <= told(out).items()
    assert json.loads((out / "evaluation.json").read_text())["n"] == 6


def test_transformers_server_has_to_be_told_by_the_model_s_name(
    server: TransformersServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lists what is in the hub's cache, not what it serves: both mistakes are found before any record."""
    flags = ["eval", *GAMES, *QUICK, f"--openai.url={server.url}", f"--out={tmp_path / 'out'}"]
    assert "--openai.model" in refusal(capsys, *flags)
    assert "answered with status 400" in refusal(capsys, *flags, "--openai.model=other")
    assert not (tmp_path / "out").exists()
