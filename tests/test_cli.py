"""The command line: what it prints, and one clear line with exit code 2 for whatever is wrong."""

import errno
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepopsd_agent import cli
from stepopsd_agent.cli import COMMANDS, main
from stepopsd_agent.policy import Policy
from stepopsd_wrappers import read_episodes
from tests.runs import SETTINGS, stepopsd, train_arguments

TINY = ["--env.tier=tiny", "--env.step_limit=8", "--env.num_games=4"]


def run(*arguments: str) -> int:
    """The exit code, whether the parser or the command ended it."""
    try:
        return main(list(arguments))
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command with bad input prints."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("stepopsd: error: ") and err.count("\n") == 1, err
    return err


def record(folder: Path, *more: str) -> None:
    """Three expert episodes."""
    assert run("record", "--agent=expert", "--episodes=3", *TINY, "--out", str(folder), *more) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_cli_help_shows_what_the_command_reads(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does and lists its settings, and only those."""
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    assert " ".join(text.split()).count(COMMANDS[command][1:60]) == 1
    shown = {name for name in ("env", "model", "learner", "warmstart", "credit") if f"--{name}." in text}
    assert shown == {
        "warmstart": {"env", "model", "warmstart"},
        "train": {"env", "model", "learner", "credit"},
        "eval": {"env", "model"},
        "record": {"env", "model"},
        "replay": set(),
        "play": {"env"},
    }[command]


def test_cli_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("stepopsd ")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "replay"])
def test_cli_printed_config_is_a_config_of_every_command(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one command prints another one takes, and values survive the way."""
    assert run(command, "--seed=7", "--env.tier=tiny", "--print_config") == 0
    printed = capsys.readouterr().out
    path = tmp_path / "config.yaml"
    path.write_text(printed)
    assert yaml.safe_load(printed)["env"]["tier"] == "tiny"
    for other in COMMANDS:
        if other != "replay":
            assert run(other, "--config", str(path), "--print_config") == 0
            assert yaml.safe_load(capsys.readouterr().out)["seed"] == 7


def test_cli_flags_win_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for the credit method, which decides which fields there are."""
    path = tmp_path / "config.yaml"
    path.write_text("updates: 3\nseed: 1\ncredit: {method: grpo, std: false}\n")
    assert run("train", "--config", str(path), "--seed=2", "--print_config") == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["updates"], printed["seed"]) == (3, 2)
    assert printed["credit"] == {"method": "grpo", "baseline": "episode", "std": False}
    assert run("train", "--config", str(path), "--credit.method=step_opsd", "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["credit"]["lambda_mix"] == 0.2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--env.gamez", "x"], "--env.gamez"),
        (["train", "--gamma=1"], "--gamma"),
        (["train", "--updates", "many"], '"updates"'),
        (["train", "--env.tier", "huge"], '"env.tier"'),
        (["train", "--credit.lambda_mixture", "1"], "--credit.lambda_mixture"),
        (["train", "--credit.method", "gpro", "--out", "x"], "'gpro'; allowed are grpo, step_opsd"),
        (["train", "--credit.method", "grpo", "--credit.lambda_mix", "1"], "--credit.lambda_mix"),
        (["train", "--out", "x", "--credit.lambda_mix", "-1"], "lambda_mix"),
        (["train", "--config", "missing.yaml"], "missing.yaml"),
        (["train", "--out", "x"], "model.path is 'tiny'"),
        (["train", "--model.path", "x"], "--out FOLDER"),
        (["warmstart"], "--out FOLDER"),
        (["record", "--agent=random"], "--out FOLDER"),
        (["record", "--agent=random", "--out=x", "--episodes=0"], "episodes is 0"),
        (["record", "--agent=robot"], "robot"),
        (["eval"], "model.path is 'tiny'"),
        (["eval", "--agent=random", "--eval.num_games=0"], "eval.num_games is 0; the smallest value is 1"),
        (["train", "--out=x", "--rollout.temperature=0"], "rollout.temperature is 0"),
        (["train", "--out=x", "--rollout.max_row_tokens=16"], "rollout.max_row_tokens is 16"),
        (["train", "--out=x", "--learner.mini_batches=0"], "learner.mini_batches is 0"),
        (["eval", "--agent=random", "--env.step_limit=0"], "step_limit=0"),
        (["eval", "--agent=random", "--env.task_types=[pick]"], "pick_and_place_simple"),
        (["eval", "--agent=random", "--env.id=stepopsd/ALFWord-v0"], "stepopsd/ALFWorld"),
        (["eval", "--agent=random", "--device=tpu"], "device is 'tpu'; give \"cpu\", \"cuda\" or"),
        (["eval", "--agent=random", "--device=cuda:99"], "device is 'cuda:99', but PyTorch"),
        (["train", "--resume", "nowhere"], "nowhere is not a run folder: it has no config.yaml"),
        (["train", "--resume", "nowhere", "--updates=9"], "leave out the other flags"),
        (["replay", "nowhere"], "nowhere"),
        (["play", "--game=generated/tiny/train/x"], "generated/tiny/train/x"),
        (["play", "--env.games=nowhere"], "games='nowhere' not found"),
        (["run"], "'run'"),
        ([], "command"),
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
        ("env: {tier: [", "config.yaml is not YAML"),
        ("\x00", "config.yaml is not YAML"),
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
    assert ("--resume" in line) == (command == "train")
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
    taught_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is made of it."""
    path = tmp_path / "house" / "trial" / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_bytes(harm(b'{"pddl_domain": "(define (domain alfred))", "grammar": "", "solvable": true}'))
    flags = ["--agent=random", f"--eval.games={path}"] if command == "eval" else []
    flags += ["--agent=expert"] if command == "record" else []
    flags += [f"--model.path={taught_model}"] if command == "train" else []
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
    assert str(tmp_path) in line and "alfworld-download" in line


def test_cli_names_a_model_folder_without_tokenizer(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the run folder is made."""
    folder = shutil.copytree(taught_model, tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    line = refusal(capsys, *train_arguments(folder, tmp_path / "run"))
    assert f"{folder}: no tokenizer" in line and "save_pretrained" in line
    assert not (tmp_path / "run").exists()


def test_cli_names_a_damaged_model_folder(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights cut in half."""
    folder = shutil.copytree(taught_model, tmp_path / "model")
    os.truncate(folder / "model.safetensors", 2000)
    assert str(folder) in refusal(capsys, "eval", f"--model.path={folder}", *TINY, "--eval.num_games=1")


def test_cli_names_a_chat_setting_the_tokenizer_cannot_fulfil(
    taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has no chat template."""
    arguments = train_arguments(taught_model, tmp_path / "run", "--model.chat=on")
    assert "no chat template" in refusal(capsys, *arguments)


@pytest.mark.parametrize("text", ["env: {tier: [", "env: {gamez: 1}"])
def test_cli_names_the_broken_config_of_a_run(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder whose config.yaml somebody edited."""
    (tmp_path / "config.yaml").write_text(text)
    line = refusal(capsys, "train", "--resume", str(tmp_path))
    assert "gamez" in line or str(tmp_path / "config.yaml") in line


def test_cli_leaves_mistakes_of_the_program_their_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A ValueError that is nobody's input is not dressed up as one."""

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("stepopsd_agent.commands.playing.play_agent", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        run("record", "--agent=random", *TINY, f"--out={tmp_path / 'out'}")


def test_cli_record_then_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Episodes replay; a changed one is found, named and gives exit code 1."""
    record(tmp_path / "out")
    assert capsys.readouterr().out.endswith(f"stepopsd replay {tmp_path / 'out'}\n")
    assert run("replay", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == "3/3 episodes replay identically\n"

    path = tmp_path / "out" / "episodes-00000.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    changed = json.loads(lines[1])
    changed["steps"][2]["observation"] += " A cat walks by."
    path.write_text(lines[0] + json.dumps(changed) + "\n" + lines[2])
    (tmp_path / "out" / "manifest.json").unlink()
    assert run("replay", str(tmp_path / "out")) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("episode 2, generated/tiny/train/1") and "A cat walks by." in first
    assert last == "2/3 episodes replay identically"


def test_cli_replay_names_a_changed_manifested_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its manifest a changed file is not even taken for a record."""
    record(tmp_path / "out")
    path = tmp_path / "out" / "episodes-00000.jsonl"
    path.write_text(path.read_text().replace('"seed":', '"seed": '))
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("tail", [b'{"schema": "stepopsd.epi', b"\0\0\0\0"])
def test_cli_replay_passes_over_a_torn_end(
    tail: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed recorder left: one warning, and the whole episodes replay."""
    record(tmp_path / "out")
    with (tmp_path / "out" / "episodes-00000.jsonl").open("ab") as file:
        file.write(tail)
    (tmp_path / "out" / "manifest.json").unlink()
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 0
    out, err = capsys.readouterr()
    assert out == "3/3 episodes replay identically\n"
    assert [line for line in err.splitlines() if line.startswith("stepopsd: warning: ")]


def test_cli_replay_names_a_line_torn_in_the_middle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is damage, not a kill: file and line are named."""
    record(tmp_path / "out")
    path = tmp_path / "out" / "episodes-00000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:100] + b"\n" + lines[2])
    capsys.readouterr()
    assert run("replay", str(tmp_path / "out")) == 2
    assert f"stepopsd: error: {path} line 2" in capsys.readouterr().err


def test_cli_replay_of_no_episodes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder, and an empty file in it."""
    assert str(tmp_path) in refusal(capsys, "replay", str(tmp_path))
    (tmp_path / "episodes-00000.jsonl").touch()
    assert "holds no whole episode" in refusal(capsys, "replay", str(tmp_path))


def test_cli_record_by_the_model_and_again(taught_model: Path, tmp_path: Path) -> None:
    """More episodes than games: the games begin again, as other members with other noise; equal seeds, equal files."""
    flags = [*TINY, "--env.num_games=2", "--rollout.max_tokens=12", f"--model.path={taught_model}"]
    for name in ("a", "b"):
        assert run("record", "--episodes=5", *flags, "--out", str(tmp_path / name)) == 0
    episodes = sorted(read_episodes(tmp_path / "a"), key=lambda episode: episode.group)
    assert [episode.task_id[-1] for episode in episodes] == ["0", "1", "0", "1", "0"]
    assert all(step.tokens for episode in episodes for step in episode.steps[1:])
    assert len({tuple(step.action for step in episode.steps) for episode in episodes[::2]}) > 1
    file = "episodes-00000.jsonl"
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert run("replay", str(tmp_path / "a")) == 0


@pytest.mark.parametrize("agent", ["random", "expert", "model"])
def test_cli_eval_prints_a_row_per_task_type(
    agent: str, taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same figures in evaluation.json, and the episodes beside it."""
    flags = ["--env.tier=tiny", "--env.step_limit=25", "--eval.num_games=6", "--rollout.max_tokens=8"]
    out = tmp_path / "out"
    assert run("eval", f"--agent={agent}", *flags, f"--model.path={taught_model}", f"--out={out}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == [
        "look_at_obj_in_light",
        "pick_and_place_simple",
        "pick_clean_then_place_in_recep",
        "pick_cool_then_place_in_recep",
        "pick_heat_then_place_in_recep",
        "pick_two_obj_and_place",
        "all",
    ]
    table = json.loads((out / "evaluation.json").read_text())
    assert table["n"] == len(list(read_episodes(out / "episodes"))) == 6
    assert f"{table['success']:.1%}" in lines[7]
    assert (table["success"] == 1.0) == (agent == "expert")
    assert table["config"]["eval"]["num_games"] == 6


def full_after(count: int) -> Callable[[int, Any], int]:
    """An `os.write` that finds the disk full after so many calls."""
    left, real_write = [count], os.write

    def write(descriptor: int, data: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    return write


def test_cli_record_on_a_full_disk_keeps_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the file; the episodes before replay."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after(2))
        assert run("record", "--agent=expert", "--episodes=4", *TINY, f"--out={out}") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "episodes-00000.jsonl: No space left" in line and "free some space" in line
    assert run("replay", str(out)) == 0
    assert capsys.readouterr().out == "2/2 episodes replay identically\n"


def test_cli_record_at_the_system_s_limit(tmp_path: Path) -> None:
    """The same from the system itself, in a process of its own."""
    out = tmp_path / "out"
    arguments = ["record", "--agent=expert", "--episodes=40", *TINY, f"--out={out}"]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    result = stepopsd(*arguments, preexec_fn=small_files)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr.splitlines()[-1]
    assert 0 < len(list(read_episodes(out))) < 40


@pytest.mark.parametrize(
    "place", ["stepopsd_agent.checkpoint.save_file", "stepopsd_agent.metrics.os.fsync", "os.write"]
)
def test_cli_train_on_a_full_disk_can_be_resumed(
    place: str,
    taught_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Checkpoints, rows or episodes: the line names the file, and --resume goes on from what was written."""
    calls = [0]
    real = {"os.write": os.write, "os.fsync": os.fsync}

    def full(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        name = "os.write" if place == "os.write" else "os.fsync"
        return real[name](*arguments) if "save_file" not in place else None

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        if "save_file" in place:
            patch.setattr(place, lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        assert run(*train_arguments(taught_model, out)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("stepopsd: error: cannot ") and "No space left" in line and str(tmp_path) in line
    assert run("train", "--resume", str(out)) == 0
    assert (out / "summary.json").exists()


def test_cli_play_from_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The room, the commands as if typed, the answers; an unknown command does not end it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("?\ngo to cart 1\ndance\n"))
    assert run("play", "--env.tier=tiny", "--game=generated/tiny/train/0") == 0
    text = capsys.readouterr().out
    assert "You are in the middle of a room." in text and max(map(len, text.splitlines())) <= 100
    assert "\n> ?\ngo to bathtubbasin 1\n" in text
    assert "\n> go to cart 1\nYou arrive at cart 1." in text
    assert "\n> dance\nNothing happens.\n" in text
    assert text.endswith("Not done: 2 commands.\n")


def test_cli_play_to_the_goal_and_to_the_limit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A won game ends; one that runs into the limit says what limit."""
    won = ["go to bathtubbasin 1", "take dishsponge 1 from bathtubbasin 1", "go to cart 1"]
    won += ["move dishsponge 1 to cart 1", "look"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(won)))
    assert run("play", "--env.tier=tiny", "--game=generated/tiny/train/0") == 0
    assert capsys.readouterr().out.endswith("You did it: 4 commands.\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("look\n" * 5))
    assert run("play", "--env.tier=tiny", "--env.step_limit=2") == 0
    assert capsys.readouterr().out.endswith("Not done: 2 commands; the limit is 2 (env.step_limit).\n")


def test_cli_play_reads_bytes_that_are_no_text() -> None:
    """From a real pipe."""
    command = [sys.executable, "-m", "stepopsd_agent.cli", "play", "--env.tier=tiny"]
    from tests.runs import ROOT, environment

    result = subprocess.run(
        command, input=b"\xff\xfe\x00\nlook\n", capture_output=True, env=environment(), cwd=ROOT, timeout=60
    )
    assert result.returncode == 0, result.stderr.decode()
    assert b"Nothing happens." in result.stdout
