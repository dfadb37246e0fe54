"""The comparison with transcripts of the original: what it counts, and its exit codes."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld.parity import main
from stepopsd_envs.alfworld import Engine, load_game
from tests.helpers.alfworld_games import write_game


def transcript(folder: Path, **changes: Any) -> Path:
    """A transcript of the small game as the engine plays it, with changed fields in its last step."""
    game = write_game(folder)
    engine = Engine(load_game(game))
    line: dict[str, Any] = {"game": str(game.relative_to(folder)), "reset": engine.reset()}
    line |= {"reset_adm": engine.admissible_commands(), "steps": []}
    for command in ("go to shelf 1", "Look", "look"):
        step = {
            "a": command,
            "o": engine.step(command),
            "adm": engine.admissible_commands(),
            "won": engine.won,
        }
        line["steps"].append(step)
    line["steps"][-1] |= changes
    path = folder / "transcripts.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return path


def run(path: Path, root: Path, *more: str) -> int:
    """The exit code of the command line."""
    return main(["--transcripts", str(path), "--data-root", str(root), *more])


def test_parity_counts_identical_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All the same: exit code 0, the figure on the last line, also as JSON; gzip does not matter."""
    path = transcript(tmp_path)
    assert run(path, tmp_path, "--json", str(tmp_path / "out.json"), "--short") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3/3 steps identical"
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["steps"], figures["steps_identical"], figures["differences"]) == (3, 3, [])
    zipped = tmp_path / "transcripts.jsonl.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert run(zipped, tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"o": "You see nothing."}, "expected 'You see nothing.'"),
        ({"adm": ["look", "dance"]}, "missing ['dance']"),
        ({"won": True}, "won: expected True"),
    ],
)
def test_parity_shows_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], shown: str
) -> None:
    """Text, commands and won are all compared; the game, the step and the command are named."""
    assert run(transcript(tmp_path, **changes), tmp_path) == 1
    out = capsys.readouterr().out
    assert "trial_1/game.tw-pddl, step 3, command 'look'" in out
    assert shown in out
    assert out.splitlines()[-1] == "2/3 steps identical"


def test_parity_compares_the_reset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A different opening text is a difference even when all steps agree."""
    path = transcript(tmp_path)
    path.write_text(path.read_text().replace("Hello.", "Goodbye."))
    assert run(path, tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-2:][0].startswith("0/1 opening texts identical")


def test_parity_refuses_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line that names the file."""
    good = transcript(tmp_path)
    bad = tmp_path / "bad.jsonl"
    for content in (
        b"",
        b"{",
        b"[]\n",
        b'{"game": "x", "reset": "", "reset_adm": [], "steps": [{}]}\n',
        b"\xff\n",
    ):
        bad.write_bytes(content)
        assert run(bad, tmp_path) == 2
        assert str(bad) in capsys.readouterr().err
    bad.write_bytes(gzip.compress(good.read_bytes())[:-20])
    assert run(bad, tmp_path) == 2
    assert run(tmp_path / "absent", tmp_path) == 2
    assert run(good, tmp_path / "absent") == 2
    assert run(good, good) == 2  # no archive
    write_game(tmp_path, "{")
    capsys.readouterr()
    assert run(good, tmp_path) == 2
    assert "game.tw-pddl: is not JSON" in capsys.readouterr().err


def test_parity_reads_archives(tmp_path: Path) -> None:
    """The games may stay packed."""
    path = transcript(tmp_path)
    with tarfile.open(tmp_path / "games.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "valid_seen", "valid_seen")
    assert run(path, tmp_path / "games.tar.xz") == 0


def test_parity_with_the_original(
    test_data: Path, official_games: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 140 games of valid_seen, word for word."""
    assert run(test_data / "alfworld-transcripts.jsonl.gz", official_games) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3892/3892 steps identical"


def test_parity_with_older_releases(
    test_data: Path, old_official_games: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three older wordings and two older domains."""
    assert run(test_data / "alfworld-transcripts-old.jsonl.gz", old_official_games) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "540/540 steps identical"
