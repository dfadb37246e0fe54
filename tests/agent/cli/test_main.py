"""The command line: what it prints, and one clear line with exit code 2 for whatever is wrong."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stepopsd_agent.cli.basic import BASIC
from stepopsd_agent.cli.commands.sweep import EXAMPLE
from stepopsd_agent.cli.main import COMMANDS
from tests.helpers.command_line import refusal, run


def test_cli_usage_fits_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken between its parts; an example stays one that can be pasted into a shell."""
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], *([name] for name in COMMANDS)):
        assert run(*command, "--help") == 0
        usage = capsys.readouterr().out.partition("\n\n\n")[0].split("\n\n")[0]
        assert usage.startswith("usage: stepopsd") and max(map(len, usage.splitlines())) <= 80
    assert run("sweep", "--help") == 0
    lines = capsys.readouterr().out.split("example: ")[1].split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 80 and all(line.endswith(" \\") for line in lines[:-1])
    assert shlex.split("".join(line.removesuffix("\\") for line in lines)) == shlex.split(EXAMPLE)


def test_cli_without_a_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """What a newcomer types first; bad input all the same."""
    assert run() == 2
    shown = capsys.readouterr()
    assert not shown.out and all(f"\n    {name} " in shown.err for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_cli_help_shows_what_the_command_reads(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does and lists its settings, and only those."""
    assert run(command, "--help-all") == 0
    text = capsys.readouterr().out
    assert " at 0x" not in " ".join(text.split())
    assert " ".join(text.split()).count(COMMANDS[command].HELP[1:60]) == 1
    assert ("or module:name" in " ".join(text.split())) == ("--credit." in text)
    shown = {name for name in ("env", "model", "learner", "warmstart", "credit") if f"--{name}." in text}
    training = {"env", "model", "learner", "credit"}
    reads = {
        "warmstart": {"env", "model", "warmstart"},
        "eval": {"env", "model"},
        "record": {"env", "model"},
        "play": {"env"},
        "view": {"model"},
        **dict.fromkeys(("train", "sweep", "plan", "credit"), training),
    }
    assert shown == reads.get(command, set())


def test_cli_help_has_the_basic_settings_and_names_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """Every basic setting is one, of an environment or method of ours, and is shown."""
    shown = set[str]()
    for command in ("train", "warmstart", "eval"):
        for env in ("ALFWorld", "SearchQA"):
            assert run(command, f"--env.id=stepopsd/{env}-v0", "--help") == 0
            text = capsys.readouterr().out
            assert f"stepopsd {command} --help-all" in text
            flags = {line.split()[0].removeprefix("--") for line in text.splitlines() if line[:4] == "  --"}
            assert {flag for flag in flags if "." in flag} <= BASIC.keys()
            shown |= flags
    assert shown >= BASIC.keys()
    assert run("doctor", "--help-all") == 0 and "--help-all" not in capsys.readouterr().out


SCREEN = {100: 46, 80: 54}
"""Lines of a screen by its columns: a terminal that fills a laptop's, and a narrower one."""


@pytest.mark.parametrize("columns", SCREEN)
@pytest.mark.parametrize("env", ["ALFWorld", "SearchQA"])
@pytest.mark.parametrize("command", COMMANDS)
def test_cli_help_fits_a_screen(
    command: str, env: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is looked up while typing; a setting takes one line or two."""
    monkeypatch.setenv("COLUMNS", str(columns))
    flags = [f"--env.id=stepopsd/{env}-v0"] if COMMANDS[command].USES else []
    assert run(command, *flags, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN[columns] and max(map(len, lines)) <= columns


def test_cli_commands_stand_in_the_table_of_the_docs() -> None:
    """All of them."""
    rows = (Path(__file__).parents[3] / "docs" / "training.md").read_text().split("| command |")[1]
    named = [line.split("`")[1] for line in rows.split("\n\n")[0].splitlines() if line.startswith("| `")]
    assert sorted(named) == sorted(COMMANDS)


def test_cli_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("stepopsd ")


CONFIGURED = [name for name, command in COMMANDS.items() if command.USES and name != "credit"]
"""`credit` takes such a file, too, but its own has what stands behind the command in it."""


@pytest.mark.parametrize("command", CONFIGURED)
def test_cli_printed_config_is_a_config_of_every_command(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one command prints another one takes, and values survive the way."""
    assert run(command, "--seed=7", "--env.tier=tiny", "--print_config") == 0
    printed = capsys.readouterr().out
    path = tmp_path / "config.yaml"
    path.write_text(printed)
    assert yaml.safe_load(printed)["env"]["tier"] == "tiny"
    for other in (*CONFIGURED, "credit list"):
        assert run(*other.split(), "--config", str(path), "--print_config") == 0
        taken = yaml.safe_load(capsys.readouterr().out)
        assert taken["env"]["tier"] == "tiny"
        if {"seed"} <= COMMANDS[command].USES & COMMANDS[other.split()[0]].USES:  # eval has seeds of its own
            assert taken["seed"] == 7


def test_cli_flags_win_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for the credit method, which decides which fields there are."""
    path = tmp_path / "config.yaml"
    path.write_text("updates: 3\nseed: 1\ncredit: {method: grpo, std: false}\n")
    assert run("train", "--config", str(path), "--seed=2", "--print_config") == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["updates"], printed["seed"]) == (3, 2)
    assert printed["credit"]["method"] == "grpo"
    assert printed["credit"]["std"] is False and "lambda_mix" not in printed["credit"]
    assert run("train", "--config", str(path), "--credit.method=step_opsd", "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["credit"]["lambda_mix"] == 0.2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--env.gamez", "x"], "env.gamez is 'x', a setting that stepopsd/ALFWorld-v0 lacks"),
        (["train", "--gamma=1"], "--gamma"),
        (["train", "--updates", "many"], "updates: got many; give a whole number"),
        (["train", "--env.tier=huge"], "env.tier: got huge; give tiny, small or full"),
        (["train", "--credit.lambda_mixture", "1"], "--credit.lambda_mixture"),
        (["train", "--credit.method", "gpro", "--out", "x"], "no credit method 'gpro': did you mean "),
        (["train", "--credit.method", "grpo", "--credit.lambda_mix", "1"], "--credit.lambda_mix"),
        (["train", "--out", "x", "--credit.lambda_mix", "-1"], "lambda_mix"),
        (["train", "--config", "missing.yaml"], "missing.yaml"),
        (["train", "--out", "x"], "model.path is 'tiny'"),
        (["train", "--model.path", "x"], "--out FOLDER"),
        (["warmstart"], "--out FOLDER"),
        (["record", "--agent=random"], "--out FOLDER"),
        (["record", "--agent=random", "--out=x", "--episodes=0"], "episodes is 0"),
        (
            ["record", "--agent=robot", "--out=x"],
            "agent is 'robot': stepopsd/ALFWorld-v0 has model, random, expert, oracle",
        ),
        (["eval"], "model.path is 'tiny'"),
        (
            ["train", "--rollout.anchor_similarity=0"],
            "rollout.anchor_similarity is 0.0; give a likeness above 0",
        ),
        (["eval", "--agent=random", "--eval.num_games=0"], "eval.num_games is 0; the smallest value is 1"),
        (
            ["eval", "--agent=random", "--learner.attention=flex"],
            "cannot be trained through on cpu; give auto",
        ),
        (["train", "--out=x", "--rollout.temperature=0"], "rollout.temperature is 0"),
        (["train", "--out=x", "--rollout.max_row_tokens=16"], "rollout.max_row_tokens is 16"),
        (
            ["train", "--out=x", "--hindsight.mode=next_observation", "--hindsight.position=prefix"],
            "hindsight.position is 'prefix', but hindsight.mode next_observation",
        ),
        (["train", "--out=x", "--learner.mini_batches=0"], "learner.mini_batches is 0"),
        (["warmstart", "--out=x", "--warmstart.mistake_passes=3"], "passes is 3; it counts passes, of which"),
        (["eval", "--agent=random", "--env.step_limit=0"], "step_limit=0"),
        (["eval", "--agent=random", "--env.task_types=[pick]"], "pick_and_place_simple"),
        (["eval", "--agent=random", "--env.id=stepopsd/ALFWord-v0"], "did you mean 'stepopsd/ALFWorld-v0'?"),
        (["eval", "--agent=random", "--device=tpu"], 'device is \'tpu\'; give "cpu", "cuda" or'),
        (["eval", "--agent=random", "--device=cuda:99"], "device is 'cuda:99', but PyTorch"),
        (["train", "--resume", "nowhere", "--updates=9"], "leave out the other flags"),
        (["replay", "nowhere"], "nowhere"),
        (["play", "--game=generated/tiny/train/x"], "generated/tiny/train/x"),
        (["play", "--env.games=nowhere"], "games='nowhere' not found"),
        (["run"], "'run'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_cli_names_what_is_wrong(
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, exit code 2, and no file made."""
    monkeypatch.chdir(tmp_path)
    assert named in refusal(capsys, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("env: {gamez: train}", "env.gamez"),
        ("learning_rate: 1", "learning_rate"),
        ("credit: {method: grpo, lambda_mix: 1}", "lambda_mix"),
        ("credit: {method: [1]}", "credit.method"),
        ("env: {tier: [", "config.yaml is not a config"),
        ("\x00", "config.yaml is not a config"),
        ("just text", "config"),
    ],
)
def test_cli_names_what_is_wrong_in_a_file(
    text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown key, or no YAML at all."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert named in refusal(capsys, "train", "--config", str(path), "--out", str(tmp_path / "run"))


@pytest.mark.parametrize("command", ["train", "warmstart", "record"])
def test_cli_does_not_write_over_anything(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with something in it, and a file, are refused and left as they are."""
    (tmp_path / "notes.txt").write_text("mine")
    line = refusal(capsys, command, "--out", str(tmp_path))
    assert f"{tmp_path} is not empty; choose another folder" in line
    assert "--resume" not in line  # there is nothing to continue
    assert "is a file" in refusal(capsys, command, "--out", str(tmp_path / "notes.txt"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + b"]",
        lambda content: b"\xff\xfe" + content,
        lambda content: b"[]",
        lambda content: b"{}",
    ],
    ids=["empty", "truncated", "brackets", "not text", "no object", "no fields"],
)
@pytest.mark.parametrize("command", ["eval", "record", "train", "warmstart", "play"])
def test_cli_names_a_broken_game_file(
    command: str,
    harm: Callable[[bytes], bytes],
    tmp_path: Path,
    fresh_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is made of it."""
    path = tmp_path / "house" / "trial" / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_bytes(harm(b'{"pddl_domain": "(define (domain alfred))", "grammar": "", "solvable": true}'))
    flags = ["--agent=random", f"--eval.games={path}"] if command == "eval" else []
    flags += ["--agent=expert"] if command == "record" else []
    flags += [f"--model.path={fresh_model}"] if command == "train" else []
    flags += ["--eval.num_games=1"] if command != "play" else []
    out = [] if command == "play" else [f"--out={tmp_path / 'out'}"]
    line = refusal(capsys, command, f"--env.games={path}", *flags, *out)
    assert str(path) in line and ("download" in line or "give" in line)
    assert not (tmp_path / "out").exists()


def test_cli_names_a_truncated_official_game(
    official_games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real file, cut."""
    whole = min(official_games.glob("valid_unseen/*/*/game.tw-pddl"))
    path = tmp_path / "game.tw-pddl"
    path.write_bytes(whole.read_bytes()[:20_000])
    assert str(path) in refusal(capsys, "play", f"--env.games={path}")


def test_cli_names_an_empty_folder_of_games(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where games come from."""
    line = refusal(capsys, "eval", "--agent=random", f"--eval.games={tmp_path}")
    assert str(tmp_path) in line and "stepopsd data alfworld" in line


@pytest.mark.parametrize("text", ["env: {tier: [", "env: {gamez: 1}"])
def test_cli_names_the_broken_config_of_a_run(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder whose config.yaml somebody edited."""
    (tmp_path / "config.yaml").write_text(text)
    line = refusal(capsys, "train", "--resume", str(tmp_path))
    assert "gamez" in line or str(tmp_path / "config.yaml") in line
