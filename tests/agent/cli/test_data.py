"""``stepopsd data``: finds, verifies, downloads, and says what to do."""

import json
import sys
from pathlib import Path

import pytest

from stepopsd_agent.cli.commands import data
from stepopsd_agent.cli.main import main
from stepopsd_envs.alfworld import release
from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.release import id_hash
from stepopsd_envs.extras import install_command
from stepopsd_envs.manifest import fingerprint_files

TASKS = ("pick_and_place_simple-Mug-None-Desk-301", "look_at_obj_in_light-Book-None-DeskLamp-302")


def make_games(root: Path, split: str = "valid_seen", tasks: tuple[str, ...] = TASKS) -> None:
    """Files that are games as far as this command looks."""
    for task in tasks:
        path = root / "json_2.1.1" / split / task / "trial_1" / "game.tw-pddl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{split} {task}")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder; what ``make_games`` puts there is what was published."""
    make_games(tmp_path / "published")
    files = find_files("valid_seen", tmp_path / "published")
    known = {"valid_seen": {id_hash(file): file.digest[:16] for file in files}}
    monkeypatch.setattr(release, "known_games", lambda: known)
    for module in (release, data):
        monkeypatch.setattr(module, "PUBLISHED", {"valid_seen": 2})
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def downloader(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a program in the place of alfworld-download."""
    program = folder / "alfworld-download"
    program.write_text(f"#!{sys.executable}\nimport pathlib, sys\nroot = pathlib.Path(sys.argv[2])\n{body}")
    program.chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(folder))


def run(*arguments: str) -> int:
    """The exit code."""
    return main(["data", "alfworld", *arguments])


def test_data_verifies_complete_games(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data folder comes from the environment variable; progress is not part of the result."""
    make_games(root)
    assert run() == 0
    out = capsys.readouterr().out
    print_of = fingerprint_files(find_files("valid_seen", root))
    assert f"official games below {root}\n" in out
    assert f"valid_seen         2  {print_of}  complete; every file compared, as published\n" in out
    assert "download" not in out


def test_data_reports_a_part_as_a_part(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is good to play with, and can be completed."""
    make_games(root, tasks=TASKS[:1])
    assert run() == 0
    out = capsys.readouterr().out
    assert "a part: 1 of 2 games" in out
    assert out.endswith(f"to get the rest, run: stepopsd data alfworld --download --data_root {root}\n")


def test_data_counts_what_is_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ALFWorld leaves it out, it is not missing."""
    make_games(root)
    make_games(root, tasks=("pick_heat_then_place_in_recep-BreadSliced-None-Fridge-10",))
    assert run() == 0
    assert "1 more files are left out" in capsys.readouterr().out


def test_data_finds_damage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and which game."""
    make_games(root)
    path = next(root.rglob("*.tw-pddl"))
    path.write_text("x")
    assert run("--data_root", str(root)) == 1
    out = capsys.readouterr().out
    assert f"1 damaged or changed, such as valid_seen/{path.parts[-3]}/trial_1" in out
    assert "remove the folders of the games named" in out


def test_data_writes_a_manifest(root: Path, tmp_path: Path) -> None:
    """The canonical list, which others can compare theirs with."""
    make_games(root)
    assert run("--manifest", str(tmp_path / "games.json")) == 0
    written = json.loads((tmp_path / "games.json").read_text())["splits"]["valid_seen"]
    files = find_files("valid_seen", root)
    assert written["fingerprint"] == fingerprint_files(files)
    assert [(game["id"], game["digest"]) for game in written["games"]] == [
        (file.task_id, file.digest) for file in files
    ]
    assert [game["task_type"] for game in written["games"]] == [
        "look_at_obj_in_light",
        "pick_and_place_simple",
    ]


def test_data_finds_out_first_what_it_cannot_write_or_search(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the games are looked for; a file is not advised as the folder to download them to."""
    (tmp_path / "file").touch()
    beneath = tmp_path / "file" / "games.json"
    for flags, said in (
        (("--manifest", str(beneath)), f"cannot write {beneath}: Not a directory"),
        (("--manifest", ""), "the path is empty"),
        (("--data_root", str(tmp_path / "file")), "file is a file; give the folder of the games"),
    ):
        assert run(*flags) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_data_without_games_says_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert run() == 2
    error = capsys.readouterr().err
    assert error.startswith(f"stepopsd: error: no official games below {root}. ") and error.count("\n") == 1
    assert "--data_root" in error and "stepopsd data alfworld --download" in error and "by hand" in error


def test_data_downloads_what_is_missing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into the data folder, by the program of the extra; once all is there, not again."""
    make_games(tmp_path / "release")
    body = f"import shutil\nshutil.copytree({str(tmp_path / 'release')!r}, root)"
    downloader(tmp_path, monkeypatch, body)
    assert run("--download") == 0
    assert "complete" in capsys.readouterr().out
    downloader(tmp_path, monkeypatch, "sys.exit(3)")
    assert run("--download") == 0


def test_data_says_why_a_download_failed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the program said is shown as it is; nothing is left half done by us."""
    downloader(tmp_path, monkeypatch, "sys.exit(3)")
    assert run("--download") == 2
    assert "ended with exit code 3; what went wrong stands above. Run this again" in capsys.readouterr().err


def test_data_without_the_downloader_names_the_extra(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the way by hand."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert run("--download") == 2
    error = capsys.readouterr().err
    assert install_command("alfworld") in error and "json_2.1.2_tw-pddl.zip" in error


def test_data_takes_no_other_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names what there is."""
    with pytest.raises(SystemExit) as ended:
        main(["data", "alfred"])
    assert ended.value.code == 2
    assert "alfworld" in capsys.readouterr().err
