"""The published games: what makes a split complete, a part, damaged."""

from pathlib import Path

import pytest

from stepopsd_envs.alfworld import release
from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.release import PUBLISHED, check_split, id_hash, known_games
from stepopsd_envs.manifest import TaskFile

GAMES = [TaskFile(f"valid_seen/task-{number}/trial", f"/{number}", f"{number:032x}") for number in range(4)]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four games, three of them known."""
    known = {id_hash(game): game.digest[:16] for game in GAMES[:3]}
    monkeypatch.setattr(release, "known_games", lambda: {"valid_seen": known})
    monkeypatch.setattr(release, "PUBLISHED", {"valid_seen": 4})


@pytest.mark.parametrize(
    ("games", "good", "verdict"),
    [
        (GAMES, True, "complete; 3 of 4 files compared, as published"),
        (GAMES[:2], True, "a part: 2 of 4 games; every file compared, as published"),
        (GAMES[2:], True, "a part: 2 of 4 games; 1 of 2 files compared, as published"),
        ([*GAMES, TaskFile("x", "/x", "1")], False, "more games than published: 5 instead of 4"),
        (
            [GAMES[0], TaskFile(GAMES[1].task_id, "/1", "f" * 32)],
            False,
            "1 damaged or changed, such as valid_seen/task-1/trial",
        ),
    ],
    ids=["complete", "part", "part, unknown", "more", "changed"],
)
def test_check_split_says_how_games_compare(
    published: None, games: list[TaskFile], good: bool, verdict: str
) -> None:
    """Complete, a part, too many, damaged."""
    check = check_split("valid_seen", games)
    assert (check.good, str(check)) == (good, verdict)


def test_check_split_of_an_unpublished_split_says_so() -> None:
    """There is one in the release that nobody counts."""
    check = check_split("valid_train", GAMES)
    assert check.good and str(check) == "4 games; nothing is published to compare them with"


def test_known_games_are_as_many_as_published() -> None:
    """All of both evaluation splits, a part of train."""
    assert {name: len(games) for name, games in known_games().items()} == {**PUBLISHED, "train": 1000}


def test_check_split_finds_the_official_games_as_published(official_games: Path) -> None:
    """Byte by byte; the fingerprints stand in results, so they must not change."""
    checks = {name: check_split(name, find_files(name, official_games)) for name in PUBLISHED}
    assert all(check.good and check.same == check.found for check in checks.values())
    assert str(checks["valid_seen"]) == "complete; every file compared, as published"
    assert str(checks["train"]) == "a part: 1,000 of 3,553 games; every file compared, as published"
    assert {name: check.fingerprint for name, check in checks.items()} == {
        "train": "6a849949394df38d3619484c3e585081",
        "valid_seen": "30c85bbefdfafe647284f5462d4a1b19",
        "valid_unseen": "323a3eed1ed62ed34125490e3389072a",
    }
