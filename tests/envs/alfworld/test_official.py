"""The ALFWorld environment on games from files."""

import json
import re
import shutil
import time
from pathlib import Path

import gymnasium as gym
import pytest

from stepopsd_envs import file_index
from stepopsd_envs.alfworld.game import TASK_TYPES, GameFileError
from stepopsd_envs.manifest import GamesNotFoundError
from stepopsd_envs.testing import check_text_env
from tests.helpers.alfworld_games import small_game
from tests.helpers.alfworld_play import make

TASK = "pick_and_place_simple-Mug-None-Desk-301"


def good_game(folder: Path) -> Path:
    """A game that can be played, in a folder that tells its type."""
    path = folder / TASK / "trial" / "game.tw-pddl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(small_game()))
    return path


def test_official_games_keep_the_contract(official_games: Path) -> None:
    """The public suite on real games, three seeds."""
    for seed in range(3):
        check_text_env(
            gym.make("stepopsd/ALFWorld-v0", games="valid_unseen", data_root=str(official_games)), seed=seed
        )


def test_official_walkthroughs_win(official_games: Path) -> None:
    """One of each task type, through `gymnasium.make`."""
    for task_type in TASK_TYPES:
        env = make(games="valid_seen", data_root=official_games, task_types=[task_type], num_games=1)
        env.reset(seed=0)
        game = env._pool.game(env.task_ids[0])
        results = [env.step(command) for command in game.walkthrough]
        assert results[-1][1:4] == (1.0, True, False)
        assert all(result[4]["step"]["valid"] for result in results)
        assert env.task_ids[0].split("/")[1].startswith(f"{task_type}-")


def test_official_games_are_the_same_however_named(official_games: Path, tmp_path: Path) -> None:
    """By split and id, by folder, by file and by path in the options."""
    split = make(games="valid_seen", data_root=official_games, num_games=3)
    task_id = split.task_ids[1]
    path = official_games / task_id / "game.tw-pddl"
    expected = split.reset(seed=5, options={"game": task_id})
    for games in (path, [path], path.parent, official_games / "valid_seen"):
        env = make(games=games)
        assert env.reset(seed=5, options={"game": task_id}) == expected
        assert env.reset(seed=5, options={"game": path}) == expected
        assert env.reset(seed=5, options={"game": str(path)}) == expected
    elsewhere = make(games=official_games / "valid_unseen")
    elsewhere.reset(seed=5, options={"game": path})
    assert make(games=path).reset(options={"snapshot": elsewhere.snapshot()})[1] == expected[1]


def test_official_fingerprint_is_of_the_contents(official_games: Path) -> None:
    """Part of a split has another one; a list of the same files has the same."""
    one, two = (make(games="valid_seen", data_root=official_games, num_games=n) for n in (3, 4))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == make(games="valid_seen", data_root=str(official_games), num_games=3).fingerprint
    paths = [official_games / task_id / "game.tw-pddl" for task_id in reversed(one.task_ids)]
    assert one.fingerprint == make(games=paths).fingerprint


def test_official_games_are_indexed_once_and_opened_from_the_index(
    official_games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 games, filters and fingerprint included; a benchmark measures it on a quiet machine."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path))
    monkeypatch.setattr(file_index, "_remembered", {})
    limits, prints = [10.0, 1.0, 1.0], set()
    for limit in limits:
        began = time.perf_counter()
        env = make(games="train", data_root=official_games)
        few = make(games="train", data_root=official_games, task_types=TASK_TYPES[:2], num_games=9)
        prints.add((env.fingerprint, few.fingerprint))
        assert time.perf_counter() - began < limit
        assert len(env.task_ids) == 1000 and len(few.task_ids) == 9
        file_index._remembered.clear()
    assert len(prints) == 1


def test_num_games_beyond_what_was_found_is_refused(official_games: Path) -> None:
    """Fewer games than asked for would make a result look better founded than it is."""
    with pytest.raises(ValueError, match="num_games=141, but there are only 140 games"):
        make(games="valid_seen", data_root=official_games, num_games=141)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pddl_domain": 1}'], ids=repr)
def test_a_malformed_game_file_is_named_before_any_game_is_played(tmp_path: Path, text: str) -> None:
    """One clear error, whether or not the folder tells the type; games that are not asked for do no harm."""
    good = good_game(tmp_path)
    for folder in ("z_task", f"{TASK}9"):
        path = tmp_path / folder / "trial" / "game.tw-pddl"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        with pytest.raises(GameFileError, match=r"game\.tw-pddl.*\. 1 of the 2 games cannot be played"):
            make(games=tmp_path)
        for env in (make(games=tmp_path, num_games=1), make(games=good)):
            env.reset(seed=0)
            with pytest.raises(GameFileError, match=r"game\.tw-pddl"):
                env.reset(options={"game": str(path)})
        path.unlink()


def test_damaged_games_among_published_ones_are_counted(official_games: Path, tmp_path: Path) -> None:
    """Cut off, emptied or changed inside; the published ones are known by their hashes."""
    games = tmp_path / "valid_seen"
    shutil.copytree(official_games / "valid_seen", games)
    files = sorted(games.rglob("*.tw-pddl"))
    make(games=games)
    content = files[3].read_bytes()
    files[3].write_bytes(content[: len(content) // 2])
    files[40].write_bytes(b"")
    files[99].write_bytes(files[99].read_bytes().replace(b"(:goal", b"(:gaol", 1))
    message = rf"{re.escape(str(files[3]))}.*\. 3 of the 140 games cannot be played"
    with pytest.raises(GameFileError, match=message):
        make(games=games)
    make(games=games, num_games=3)


def test_a_link_to_a_game_that_is_not_there_counts_as_a_damaged_game(tmp_path: Path) -> None:
    """Named at the start with where it points; without it, or once the game is there, all is well."""
    games = tmp_path / "games"
    good, gone = good_game(games), tmp_path / "gone.tw-pddl"
    link = good.parent.with_name("zz-linked") / good.name
    link.parent.mkdir()
    link.symlink_to(gone)
    message = (
        rf"{link}: is a link to {gone}, which is not there; put the game .*\. 1 of the 2 games cannot be"
    )
    for _ in range(2):
        with pytest.raises(GameFileError, match=message):
            make(games=games)
    make(games=games, num_games=1).reset(seed=0)
    shutil.copy(good, gone)
    assert len(make(games=games).get_wrapper_attr("task_ids")) == 2


def test_reset_on_a_game_file_that_has_gone_says_so(tmp_path: Path) -> None:
    """Listed when the environment was made, deleted since."""
    path = good_game(tmp_path)
    env = make(games=tmp_path)
    path.unlink()
    with pytest.raises(GamesNotFoundError, match="no longer exists"):
        env.reset(seed=0)


def test_old_official_games_keep_the_contract(old_official_games: Path) -> None:
    """Older wordings, too; games that cannot be played say so in one clear error."""
    for path in sorted(old_official_games.rglob("*.tw-pddl")):
        try:
            env = gym.make("stepopsd/ALFWorld-v0", games=str(path))
            env.reset(seed=0)
        except GameFileError as problem:
            assert "game.tw-pddl" in str(problem)
        else:
            check_text_env(env)
