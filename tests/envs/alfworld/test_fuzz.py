"""The fuzzing of actions and files, in small, and that it finds what it looks for."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld.fuzz import fuzz_actions, fuzz_files, game_files, main
from benchmarks.alfworld.fuzz_inputs import CORRUPTIONS, ODD_SIGNS, random_action
from stepopsd_envs.alfworld import GameFileError, load_game
from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.export import export_game
from stepopsd_envs.alfworld.generator import generate_game


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of three generated games."""
    folder = tmp_path_factory.mktemp("games")
    return [
        export_game(generate_game("small", "train", n), folder / str(n) / "game.tw-pddl") for n in range(3)
    ]


def test_fuzz_finds_nothing_in_random_actions(files: list[Path]) -> None:
    """About half of them possible, so that states differ."""
    figures = fuzz_actions(files, 2_000, seed=0)
    assert figures["found"] == [] and 600 < figures["valid"] < 1_400


def test_fuzz_finds_nothing_in_damaged_files(files: list[Path], tmp_path: Path) -> None:
    """Every kind of damage; most files are refused by name."""
    figures = fuzz_files(files, 4 * len(CORRUPTIONS), 0, tmp_path)
    assert figures["found"] == [] and figures["outcomes"]["refused"] > 2 * len(CORRUPTIONS)


def test_fuzz_damages_official_games(official_games: Path, tmp_path: Path) -> None:
    """The same on files of the original."""
    with game_files(official_games / "valid_unseen") as (found, _):
        assert fuzz_files(found, 2 * len(CORRUPTIONS), 1, tmp_path)["found"] == []


def test_random_actions_are_of_every_kind() -> None:
    """Control characters, lone surrogates, padded and other commands, and what is no string."""
    rng = random.Random(0)
    actions = [random_action(rng, ["go to bed 1"], ["open safe 1"]) for _ in range(20_000)]
    texts = [action for action in actions if isinstance(action, str)]
    assert 0 < len(actions) - len(texts) < 100
    assert set(ODD_SIGNS) <= set("".join(texts))
    assert {"go to bed 1", " go to bed 1", "GO TO BED 1", "go to bed 99", "open safe 1", ""} <= set(texts)


def test_fuzz_finds_an_action_that_raises(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As an engine would that encodes what it gets."""
    play = Engine.step

    def fragile(self: Engine, command: str) -> str:
        command.encode()
        return play(self, command)

    monkeypatch.setattr(Engine, "step", fragile)
    found = fuzz_actions(files, 500, seed=0)["found"]
    assert found and "UnicodeEncodeError" in found[0]


def test_fuzz_finds_an_invalid_action_that_changes_the_state(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an engine would that reads commands in any case."""
    play = Engine.step
    monkeypatch.setattr(Engine, "step", lambda self, command: play(self, command.lower()))
    found = fuzz_actions(files, 2_000, seed=0)["found"]
    assert any("invalid and changed the state" in problem for problem in found)
    assert any("invalid and answered with" in problem for problem in found)


def test_fuzz_finds_an_action_that_is_wrongly_invalid(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the other way round."""
    act = AlfworldEnv._act

    def strict(self: AlfworldEnv, action: str) -> Any:
        outcome = act(self, action)
        return outcome._replace(kind="invalid") if action != action.strip() else outcome

    monkeypatch.setattr(AlfworldEnv, "_act", strict)
    assert "valid is False" in fuzz_actions(files, 1_000, seed=0)["found"][0]


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (KeyError("grammar"), "raised KeyError"),
        (GameFileError("elsewhere", "grammar", "broken"), "does not name file and field"),
        (GameFileError("{path}", "", "broken"), "does not name file and field"),
    ],
    ids=str,
)
def test_fuzz_finds_a_file_that_is_refused_in_another_way(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, found: str
) -> None:
    """Another exception, or one that does not say where."""

    def broken(path: Path, task_id: str | None = None) -> Any:
        if path in files:
            return load_game(path, task_id)
        if isinstance(error, GameFileError) and error.path == "{path}":
            raise GameFileError(str(path), "", "broken")
        raise error

    monkeypatch.setattr("benchmarks.alfworld.fuzz.load_game", broken)
    assert found in fuzz_files(files, 3, 0, tmp_path)["found"][0]


def test_fuzz_command_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On generated games, where no others are given."""
    out = tmp_path / "fuzz.json"
    assert main(["--actions=300", "--files=7", f"--json={out}"]) == 0
    assert capsys.readouterr().out.startswith("300 actions, ")
    written = json.loads(out.read_text())
    assert written["actions"]["found"] == written["files"]["found"] == []
    assert main([f"--games={tmp_path}"]) == 2
    assert "holds no game.tw-pddl" in capsys.readouterr().err
