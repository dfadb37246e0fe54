"""The comparison with the original: it repeats from the recorded hashes, and notices what changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alfworld.commands import Player
from benchmarks.alfworld.differential import HASHES, generated_games, main
from stepopsd_envs.alfworld import Engine
from stepopsd_envs.alfworld.generator import generate_game

NOTHING = "Nothing happens."


def played(seed: int) -> tuple[list[str], list[str], list[bool]]:
    """Commands, answers and `won` of a play."""
    game = generate_game("small", "train", seed)
    engine, player = Engine(game), Player(seed, game.walkthrough)
    engine.reset()
    commands, answers, won = [], [], []
    for planned in player.commands():
        commands.append(player.choose(planned, engine.admissible_commands()))
        answers.append(engine.step(commands[-1]))
        won.append(engine.won)
    return commands, answers, won


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The figures."""
    return capsys.readouterr().out.splitlines()[-1]


def test_player_repeats_itself() -> None:
    """A seed gives the same commands again, another seed others."""
    assert played(5) == played(5)
    assert played(5)[0] != played(6)[0]


def test_player_mixes_what_matters() -> None:
    """Goals reached and play beyond them, every verb, odd commands, in 30 plays."""
    plays = [played(seed) for seed in range(30)]
    beyond = [len(won) - won.index(True) for _, _, won in plays if any(won)]
    assert sum(commands > 10 for commands in beyond) >= 20
    assert any(won != sorted(won) for _, _, won in plays)  # won, and then no longer
    commands = [command for commands, _, _ in plays for command in commands]
    verbs = {command.split(" ")[0] for command in commands}
    assert {"go", "open", "close", "take", "move", "use", "heat", "cool", "clean", "examine", "help"} <= verbs
    assert {"", "   ", "look", "inventory"} <= set(commands)
    odd = [answer == NOTHING for _, answers, _ in plays for answer in answers]
    assert 0.05 < sum(odd) / len(odd) < 0.4


def test_generated_games_are_of_every_tier_and_type() -> None:
    """Ten of each tier and split."""
    games = [chosen.game for chosen in generated_games()]
    assert len(games) == 60
    assert len({game.task_id.rpartition("/")[0] for game in games}) == 6
    assert len({game.task_type for game in games}) == 6


def test_recorded_hashes_repeat_on_generated_games(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What TextWorld said when they were recorded is what the native engine says now."""
    out = tmp_path / "out.json"
    code = main(["--json", str(out)])
    line = last_line(capsys)
    assert line.startswith("0 official and 60 generated games, ")
    assert line.endswith(" games, 0 differences")
    assert code == 0
    figures = json.loads(out.read_text())
    assert figures["commands"] > 1_500
    assert figures["goals_reached"] >= 30


def test_recorded_hashes_repeat_on_official_games(
    official_games: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixty games of valid_unseen and train."""
    code = main(["--data-root", str(official_games)])
    line = last_line(capsys)
    assert line.startswith("60 official and 60 generated games, ")
    assert line.endswith(" games, 0 differences")
    assert code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": "0"}, "generated/tiny/train/0: the answers differ from the recorded ones"),
        ({"commands": 3}, "generated/tiny/train/0: the answers differ from the recorded ones"),
        ({"content": "0"}, "generated/tiny/train/0: content or seed differ from the record"),
        ({"seed": 99}, "generated/tiny/train/0: content or seed differ from the record"),
        (None, "generated/tiny/train/0: is not recorded; add it with --record"),
    ],
)
def test_differences_are_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any] | None, message: str
) -> None:
    """Exit code 1, and which game."""
    data = json.loads(HASHES.read_text())
    if change is None:
        del data["games"]["generated/tiny/train/0"]
    else:
        data["games"]["generated/tiny/train/0"].update(change)
    hashes = tmp_path / "hashes.json"
    hashes.write_text(json.dumps(data))
    assert main(["--short", "--hashes", str(hashes)]) == 1
    out = capsys.readouterr().out
    assert message in out
    assert out.splitlines()[-1].endswith(" 1 differences")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "other", "games": {}}'])
def test_bad_hashes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """Exit code 2 and the file."""
    hashes = tmp_path / "hashes.json"
    hashes.write_text(content)
    assert main(["--hashes", str(hashes)]) == 2
    assert str(hashes) in capsys.readouterr().err


def test_missing_games_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what is missing."""
    assert main(["--data-root", str(tmp_path)]) == 2
    assert "game.tw-pddl" in capsys.readouterr().err


@pytest.mark.slow
def test_recording_with_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lost entry is played on TextWorld again, and comes out the same; the others are kept."""
    pytest.importorskip("fast_downward", reason="alfworld and TextWorld are not installed (extra alfworld)")
    data = json.loads(HASHES.read_text())
    lost = data["games"].pop("generated/tiny/train/4")
    hashes = tmp_path / "hashes.json"
    hashes.write_text(json.dumps(data))
    assert main(["--record", "--short", "--hashes", str(hashes)]) == 0
    assert "recorded generated/tiny/train/4" in capsys.readouterr().out
    games = json.loads(hashes.read_text())["games"]
    assert games["generated/tiny/train/4"] == lost
