"""A folder or a name may stand behind the flags, in every command that takes one."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.main import parse
from tests.helpers.command_line import record, run


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ("credit score --credit.method grpo F", "episodes", "F"),
        ("credit --credit.method grpo score F", "episodes", "F"),
        ("credit score --seed 3 F --credit.method=grpo", "episodes", "F"),
        ("credit compare --replay F", "episodes", "F"),
        ("credit compare --method grpo rloo --seed 3 F", "episodes", "F"),
        ("credit compare --group_by task F --method grpo", "episodes", "F"),
        ("credit score --learner.weight_decay -1 F", "episodes", "F"),
        ("config copy --out o.yaml searchqa_quickstart", "name", "searchqa_quickstart"),
        ("index --out o --k1 0.9 F", "corpus", "F"),
        ("replay --module m F", "episodes", "F"),
        ("export --won F --out o --to sft", "episodes", "F"),
        ("import --out o --from search-r1 F", "file", "F"),
        ("view --text F G", "folders", ["F", "G"]),
        ("compare --json o F G", "folders", ["F", "G"]),
        ("check-model --chat off F", "path", "F"),
    ],
)
def test_cli_takes_words_behind_flags(arguments: str, name: str, value: str | list[str]) -> None:
    """The settings are those of the words in front."""
    command, *rest = arguments.split()
    assert parse([command, *rest])[command][name] == value


@pytest.mark.parametrize("command", ["view --text", "credit compare"])
def test_cli_takes_a_folder_behind_methods(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there as a folder is no method, unless a method has that name."""
    monkeypatch.chdir(tmp_path)
    for folder in ("runs", "rloo"):
        (tmp_path / folder).mkdir()
    name, *flags = command.split()
    settings = parse([name, *flags, "--method", "grpo", "rloo", "runs"])[name]
    folders = settings.folders if name == "view" else [settings.episodes]
    assert (settings.method, folders) == (["grpo", "rloo"], ["runs"])
    assert parse([name, *flags, "--method", "", "runs"])[name].method == [""]  # no folder


def test_cli_credit_of_a_run_reads_its_config_wherever_the_run_stands(tmp_path: Path) -> None:
    """And plan reads a file behind its flags."""
    folder = tmp_path / "run"
    record(folder / "episodes", "--agent=random", "--episodes=2", "--env.num_games=2", "--env.step_limit=6")
    (folder / "config.yaml").write_text("credit:\n  method: step_opsd\n  lambda_mix: 0.3\nseed: 5\n")
    assert parse(["credit", "score", "--credit.span", "action", str(folder)])["credit"].seed == 5
    assert parse(["plan", "--steps", "3", str(folder / "config.yaml")])["plan"].seed == 5
    assert run("credit", "score", "--credit.method", "grpo", str(folder)) == 0
    assert (folder / "episodes" / "credit-grpo.jsonl").is_file()
