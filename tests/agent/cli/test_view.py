"""``stepopsd view``: a page or text of recorded episodes, with the credit of up to two methods."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import TINY, record, refusal, run
from tests.helpers.runs import ROOT, environment


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four attempts of chance with known distances, read only by agreement."""
    folder = tmp_path_factory.mktemp("view") / "games"
    record(folder, "--agent=random", "--episodes=4", "--env.oracle=true", "--env.num_games=2")
    return folder


def data_of(path: Path) -> dict[str, Any]:
    """What a page shows."""
    pattern = r'<script id="data" type="application/json">(.*?)</script>'
    (found,) = re.findall(pattern, path.read_text(encoding="utf-8"))
    data: dict[str, Any] = json.loads(found)
    return data


def test_view_writes_a_page_with_two_methods_and_the_truth(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And writes it anew, but nothing else over."""
    out = tmp_path / "pages" / "view.html"  # the folder is made
    command = ["view", str(games), "--method", "path_gain gamma=0.5", "oracle", "--group_by=task"]
    assert run(*command, f"--out={out}") == 0
    assert capsys.readouterr().out.startswith("4 episodes, ")
    data = data_of(out)
    assert data["methods"] == ["path_gain gamma=0.5", "oracle"]
    for episode in data["episodes"]:
        lengths = {len(episode["truth"]), *map(len, episode["credit"])}
        assert lengths == {len(episode["steps"]) - 1}
    assert run(*command, f"--out={out}") == 0
    out.write_text("mine")
    assert "no page of stepopsd view" in refusal(capsys, *command, f"--out={out}")
    beneath = out / "view.html"  # found out before any credit is computed, which here is not possible
    line = refusal(capsys, "view", str(games), "--method=step_opsd", f"--out={beneath}")
    assert f"cannot write {beneath}: Not a directory" in line


def test_view_reads_the_credit_that_was_scored_before(games: Path, tmp_path: Path) -> None:
    """From the file of `credit score`, episode by episode."""
    scored, out = tmp_path / "credit-oracle.jsonl", tmp_path / "view.html"
    assert run("credit", "score", str(games), "--credit.method=oracle", *TINY, f"--out={scored}") == 0
    assert run("view", str(games), "--method", str(scored), "oracle", f"--out={out}") == 0
    data = data_of(out)
    assert data["methods"] == ["oracle", "oracle"]
    assert all(episode["credit"][0] == episode["credit"][1] for episode in data["episodes"])


def test_view_prints_a_list_and_a_transcript(games: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--text`."""
    capsys.readouterr()
    assert run("view", str(games), "--text") == 0
    assert len(re.findall(r"^ +\d  (won|lost) ", capsys.readouterr().out, re.MULTILINE)) == 4
    assert run("view", str(games), "--text", "--episode=1", "--method=oracle") == 0
    assert "  oracle\n" in capsys.readouterr().out


def test_view_shows_a_folder_once_however_it_is_spelled(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its episodes are not counted twice; another folder between them keeps its place."""
    other, link = tmp_path / "other", tmp_path / "link"
    (other / "episodes").parent.mkdir()
    shutil.copytree(games, other / "episodes")
    link.symlink_to(games)
    monkeypatch.chdir(games.parent)
    out = tmp_path / "view.html"
    spelled = [str(games), str(other), "games", f"{games}/", str(link), str(other / "episodes")]
    capsys.readouterr()
    assert run("view", *spelled, f"--out={out}") == 0
    assert capsys.readouterr().out.startswith("8 episodes, ")
    assert [source["label"] for source in data_of(out)["sources"]] == ["games", "other"]
    assert run("view", str(other), *spelled, "--text") == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ +\d  (won|lost) ", printed, re.MULTILINE)) == 8
    assert printed.index("other") < printed.index("games")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], "either --out FILE"),
        (["--text", "--out=x"], "either --out FILE"),
        (["--text", "--method", "grpo", "gigpo", "rloo"], "--method got 3 methods"),
        (["--text", "--method=gpro"], "gpro"),
        (["--text", "--limit=0"], "limit is 0"),
        (["--out=x", "--episode=0"], "add --text"),
        (["--text", "--episode=4"], "give a number below 4, counted from 0"),
        (["--text", "--method=turn_gae"], "which only a run can compute"),
        (["--text", "--method=grpo gama=1"], "has no field gama; its fields are "),
    ],
)
def test_view_refuses_in_one_line(
    more: list[str], named: str, games: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Naming what can be done."""
    line = refusal(capsys, "view", str(games), *more)
    assert named in line and line.count("turn_gae") <= 1


def test_view_says_which_method_needs_a_model(games: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And how to give one; a folder without episodes is named."""
    assert run("view", str(games), "--text", "--method=step_opsd") == 2
    assert "give --model.path" in capsys.readouterr().err
    assert "neither episodes nor metrics" in refusal(capsys, "view", str(games.parent), "--text")


def test_view_refuses_a_file_without_a_whole_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of writing a page that shows nothing."""
    notes, out = tmp_path / "notes.txt", tmp_path / "view.html"
    notes.write_text("hello\n")
    assert run("view", str(notes), f"--out={out}") == 2
    assert "notes.txt holds no whole episode" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("summary.json", "{"),
        ("summary.json", "[1]"),
        ("summary.json", '{"final": 5}'),
        ("evaluation.json", "null"),
        ("evaluation.json", '{"by_set": [1]}'),
        ("metrics.jsonl", '{"update": 1}\n[1]\n'),
        ("metrics.jsonl", "{}}\n"),
        ("config.yaml", "a: [1"),
    ],
)
def test_view_names_the_damaged_file(
    file: str, content: str, games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, whatever it holds, and writes nothing."""
    folder, out = tmp_path / "run", tmp_path / "view.html"
    shutil.copytree(games, folder)
    (folder / file).write_text(content)
    assert str(folder / file) in refusal(capsys, "view", str(folder), f"--out={out}")
    assert not out.exists()


def test_view_without_credit_needs_no_torch(games: Path, tmp_path: Path) -> None:
    """Whose import, and that of transformers, would be nine tenths of the wait."""
    code = (
        "import sys; from stepopsd_agent.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit(code or ' '.join(sys.modules.keys() & {'torch', 'transformers'}) or 0)"
    )
    command = [sys.executable, "-c", code, "view", str(games), f"--out={tmp_path / 'view.html'}"]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
