"""Which official games a name, a folder or a list means."""

import json
import os
import re
from pathlib import Path

import pytest

from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.official import PathLike, find_files, load_file, task_type_of
from stepopsd_envs.file_index import digest_of
from stepopsd_envs.manifest import GamesNotFoundError
from tests.helpers.alfworld_games import small_game, write_game

MUG = "pick_and_place_simple-Mug-None-Desk-301"
LAMP = "look_at_obj_in_light-Book-None-DeskLamp-302"
SLICED = "pick_heat_then_place_in_recep-BreadSliced-None-Fridge-10"
MOVABLE = "pick_and_place_with_movable_recep-Fork-Cup-CounterTop-10"


def make_game(folder: Path, task: str = MUG, trial: str = "trial_1", text: str = "{}") -> str:
    """A game file as far as listing looks at it; its path."""
    path = folder / task / trial / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return str(path)


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a data folder of this machine nor a downloaded one."""
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("below", ["", "json_2.1.1"])
def test_find_files_finds_a_split_below_data_root(tmp_path: Path, below: str) -> None:
    """Directly, or in the folder that alfworld-download makes."""
    paths = [make_game(tmp_path / below / "valid_seen", task) for task in (MUG, LAMP)]
    files = find_files("valid_seen", tmp_path)
    assert [file.task_id for file in files] == [f"valid_seen/{LAMP}/trial_1", f"valid_seen/{MUG}/trial_1"]
    assert [file.path for file in files] == paths[::-1]


def test_find_files_looks_where_alfworld_keeps_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In $ALFWORLD_DATA, else in the folder that alfworld-download fills when that is unset."""
    default = make_game(tmp_path / "home" / ".cache" / "alfworld" / "json_2.1.1" / "train")
    assert [file.path for file in find_files("train")] == [default]
    named = make_game(tmp_path / "data" / "train")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    assert [file.path for file in find_files("train")] == [named]
    given = make_game(tmp_path / "other" / "train")
    assert [file.path for file in find_files("train", tmp_path / "other")] == [given]


def test_find_files_gives_one_id_however_a_game_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By split, folder, trial folder, file, list, absolute or relative path."""
    path = make_game(tmp_path / "train")
    monkeypatch.chdir(tmp_path / "train")
    ways: list[PathLike | list[PathLike]] = [
        tmp_path,
        tmp_path / "train",
        Path(path).parent,
        path,
        [path],
        [Path(path), path],
        ".",
        MUG,
    ]
    for way in ways:
        assert [(file.task_id, file.path) for file in find_files(way)] == [(f"train/{MUG}/trial_1", path)]
    assert find_files("train", tmp_path) == find_files(path)


def test_find_files_keeps_apart_files_that_share_a_folder(tmp_path: Path) -> None:
    """A file of another name than the usual one is part of the id."""
    for name in ("b.tw-pddl", "a.tw-pddl", "notes.txt"):
        (tmp_path / name).write_text("{}")
    ids = [file.task_id.split("/")[-1] for file in find_files(tmp_path)]
    assert ids == ["a", "b"]


def test_find_files_leaves_out_what_alfworld_leaves_out(tmp_path: Path) -> None:
    """In folders: movable receptacles, sliced objects, games marked unsolvable."""
    kept = make_game(tmp_path, text='{"grammar": "", "solvable": true, "walkthrough": ["look"]}')
    left_out = [
        make_game(tmp_path, SLICED),
        make_game(tmp_path, MOVABLE),
        make_game(tmp_path, trial="trial_2", text='{"solvable": false, "walkthrough": []}'),
    ]
    assert [file.path for file in find_files(tmp_path)] == [kept]
    for path in left_out:
        assert [file.path for file in find_files([path])] == [path]


def test_find_files_says_what_it_searched(tmp_path: Path) -> None:
    """And what to do."""
    searched = re.escape(f"searched {tmp_path}/valid_seen and {tmp_path}/json_2.1.1/valid_seen")
    with pytest.raises(
        GamesNotFoundError, match=rf"'valid_seen' not found; {searched}.*stepopsd data alfworld.*generated"
    ):
        find_files("valid_seen", tmp_path)
    with pytest.raises(GamesNotFoundError, match=r"'valid_sen' not found.*valid_seen, valid_unseen"):
        find_files("valid_sen", tmp_path)


def test_find_files_refuses_a_folder_without_games(tmp_path: Path) -> None:
    """Empty, without game files, with left-out ones only; an empty list too."""
    with pytest.raises(GamesNotFoundError, match=re.escape(f"{tmp_path} has no *.tw-pddl file")):
        find_files(tmp_path)
    make_game(tmp_path, SLICED)
    with pytest.raises(GamesNotFoundError, match=r"only games that ALFWorld leaves out \(1\)"):
        find_files(tmp_path)
    with pytest.raises(GamesNotFoundError, match="empty list"):
        find_files([])


@pytest.mark.parametrize("games", ["", [""]])
def test_find_files_refuses_an_empty_path(
    games: str | list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a shell's variable that is not set; it was the present folder, whose games were played."""
    make_game(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GamesNotFoundError, match=r"is empty; give one, or \. for the present folder"):
        find_files(games)


def test_find_files_notes_what_is_in_the_files(tmp_path: Path) -> None:
    """The hash of the bytes and the task type, in a folder and by name."""
    path = make_game(tmp_path, text="some bytes")
    for files in (find_files(tmp_path), find_files(path)):
        assert (files[0].digest, files[0].note) == (digest_of(b"some bytes"), "damaged pick_and_place_simple")


def test_find_files_shows_progress(tmp_path: Path) -> None:
    """Once per file, those left out included."""
    names = [make_game(tmp_path, task) for task in (MUG, LAMP, SLICED)]
    calls: list[int] = []
    find_files(tmp_path, advance=lambda: calls.append(1))
    find_files(names, advance=lambda: calls.append(1))
    assert len(calls) == 6


def test_task_type_of_a_game_in_a_folder_of_another_name_is_read_when_listed(tmp_path: Path) -> None:
    """From then on it is known, whatever becomes of the file; what is no game has none."""
    paths = [tmp_path / name / "trial" / "game.tw-pddl" for name in ("kitchen", "broken")]
    for path, text in zip(paths, (json.dumps(small_game()), "{"), strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    broken, kitchen = find_files(tmp_path)
    paths[0].unlink()
    assert task_type_of(kitchen) == "pick_clean_then_place_in_recep"
    with pytest.raises(GameFileError, match="not JSON"):
        task_type_of(broken)


def test_load_file_refuses_a_file_changed_since_it_was_listed(tmp_path: Path) -> None:
    """The fingerprint in the record would be that of other games. Touching it is no change."""
    (file,) = find_files(write_game(tmp_path))
    assert load_file(file).task_type == file.note
    os.utime(file.path, ns=(1, 1))
    load_file(file)
    Path(file.path).write_text(json.dumps({**small_game(), "walkthrough": []}))
    with pytest.raises(GameFileError, match=r"game\.tw-pddl: was changed after .* new environment"):
        load_file(file)
    (again,) = find_files(file.path)
    assert load_file(again).walkthrough == ()


def test_task_type_of_reads_the_folder_name(tmp_path: Path) -> None:
    """Without opening the file, which is no game here."""
    types = [task_type_of(file) for file in find_files([make_game(tmp_path), make_game(tmp_path, LAMP)])]
    assert types == ["look_at_obj_in_light", "pick_and_place_simple"]


@pytest.mark.parametrize(("split", "number"), [("valid_seen", 140), ("valid_unseen", 134), ("train", 1000)])
def test_find_files_finds_the_official_games(official_games: Path, split: str, number: int) -> None:
    """As many as ALFWorld plays, sorted."""
    ids = [file.task_id for file in find_files(split, official_games)]
    assert len(ids) == number and ids == sorted(ids)
    assert all(re.fullmatch(rf"{split}/[^/]+/trial_T\d+_\d+_\d+", task_id) for task_id in ids)
