"""Settings that a command takes, so that one file serves all, but does not read: its help leaves them out."""

from pathlib import Path

import pytest

from stepopsd_agent.cli.commands import eval as evaluate, record as recording, warmstart
from stepopsd_agent.cli.main import COMMANDS
from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import own_method, record, run

CHANGED = [
    "--rollout.tasks=3",
    "--rollout.group_size=2",
    "--rollout.temperature=0.3",
    "--rollout.top_k=1",
    "--rollout.top_p=0.5",
    "--rollout.invalid_penalty=0.5",
    "--rollout.invalid_penalty_on=episode",
    "--rollout.anchor_similarity=0.5",
    "--rollout.max_rounds=2",
    "--rollout.revisit_share=0.5",
    "--rollout.revisit_after=2",
    "--rollout.mc_rollouts=2",
]
"""Without `rollout.ahead`, which needs Ray."""


@pytest.mark.samples
def test_eval_plays_the_same_whatever_the_settings_that_it_ignores(
    taught_model: Path, tmp_path: Path
) -> None:
    """To the last token; and another one for the first that it does read."""
    flags = ["eval", f"--model.path={taught_model}", "--env.tier=tiny", "--env.step_limit=6"]
    flags += ["--eval.num_games=4", "--eval.temperature=1"]
    more = [*CHANGED, "--eval.every=3", "--env.games=valid_seen", "--env.num_games=2"]
    names = {flag.partition("=")[0].removeprefix("--") for flag in more}
    assert names == {name for name in evaluate.IGNORES if "questions" not in name} - {"rollout.ahead"}
    assert run(*flags, f"--out={tmp_path / 'plain'}") == 0
    assert run(*flags, *more, f"--out={tmp_path / 'changed'}") == 0
    assert run(*flags, "--rollout.max_tokens=1", f"--out={tmp_path / 'short'}") == 0

    def tokens(name: str) -> list[object]:
        return [
            (episode.task_id, [step.tokens for step in episode.steps])
            for episode in read_episodes(tmp_path / name / "episodes")
        ]

    assert tokens("plain") == tokens("changed") != tokens("short")


@pytest.mark.parametrize("command", [evaluate, recording, warmstart])
def test_help_leaves_out_what_a_command_ignores(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    """And shows the rest of those sections; every ignored setting is one."""
    (name,) = [name for name, module in COMMANDS.items() if module is command]
    ignored = {f"--{setting}" for setting in COMMANDS[name].IGNORES}  # type: ignore[attr-defined]
    assert run(name, "--help-all") == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  --")}
    assert not shown & ignored
    assert {"--rollout.max_tokens", "--rollout.stop", "--eval.temperature", "--env.tier"} <= shown
    taken = set[str]()
    for env in ("ALFWorld", "SearchQA"):
        assert run("train", f"--env.id=stepopsd/{env}-v0", "--help-all") == 0
        taken |= {part for part in capsys.readouterr().out.split() if part.startswith("--")}
    assert ignored <= taken


ONE_GROUP = '''
from dataclasses import dataclass

from stepopsd_agent import credit
from stepopsd_agent.credit.grpo import GRPO


@dataclass(frozen=True)
class OneGroup(GRPO):
    """Refuses batches of several groups."""

    def __call__(self, batch):
        if int(batch.episodes.group_of_episode.unique().numel()) > 1:
            raise ValueError("several groups in a batch")
        return super().__call__(batch)


credit.register("one_group", "of_one_group:OneGroup")
'''


def test_help_of_credit_has_the_groups_of_a_batch_that_compare_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It decides what a method that looks at its whole batch sees, and docs/credit-benchmark.md names it."""
    own_method(tmp_path / "of_one_group.py", ONE_GROUP, monkeypatch)
    folder = tmp_path / "games"
    record(folder, "--agent=random", "--episodes=6", "--env.num_games=2", "--env.oracle=true")
    flags = ["credit", "compare", str(folder), "--group_by=task", "--method", "of_one_group:one_group"]
    assert run(*flags, "--rollout.tasks=1") == 0
    assert run(*flags, "--rollout.tasks=2") == 2
    assert "several groups in a batch" in capsys.readouterr().err
    assert run("credit", "--help-all") == 0
    assert "--rollout.tasks" in capsys.readouterr().out
