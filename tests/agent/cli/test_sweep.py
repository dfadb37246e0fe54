"""``stepopsd sweep``: combinations, runs side by side, what is kept, and the table."""

import json
from pathlib import Path

import pytest

from stepopsd_agent.cli.commands.sweep import split
from stepopsd_agent.ops import proportion
from stepopsd_agent.run import Job, SweepRun, area, label, rows_text, sweep_rows, sweep_runs
from stepopsd_agent.run.files import save_model
from stepopsd_agent.run.files.metrics_log import MetricsLog
from tests.helpers.command_line import refusal, run
from tests.helpers.models import tiny

SHORT = [
    "--updates=1", "--env.tier=tiny", "--env.step_limit=3", "--env.num_games=2", "--rollout.tasks=1",
    "--rollout.group_size=2", "--rollout.max_tokens=4", "--rollout.max_row_tokens=400", "--eval.num_games=2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ("1e-4,3e-4", ["1e-4", "3e-4"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("'a,b', c", ["'a,b'", "c"]),
        ("one", ["one"]),
        ("{a: [1,2], b: 3},4", ["{a: [1,2], b: 3}", "4"]),
    ],
)
def test_sweep_splits_values_at_commas_outside_brackets(values: str, parts: list[str]) -> None:
    """A list is one value."""
    assert split(values) == parts


def test_sweep_runs_are_every_combination_with_every_seed() -> None:
    """Seed by seed; folders have names that tell them apart, short and without slashes."""
    runs = sweep_runs({"credit.method": ["grpo", "a.b:c"], "learner.lr": ["1e-4"]}, [4, 5])
    assert [(one.name, one.seed) for one in runs] == [
        ("method=grpo,lr=1e-4,seed=4", 4),
        ("method=a.b_c,lr=1e-4,seed=4", 4),
        ("method=grpo,lr=1e-4,seed=5", 5),
        ("method=a.b_c,lr=1e-4,seed=5", 5),
    ]
    assert runs[1].settings == {"credit.method": "a.b:c", "learner.lr": "1e-4"}
    assert label({"learner.lr": "1", "critic.lr": "2"}) == "learner.lr=1, critic.lr=2"
    for grid in ({"model.path": ["a/b", "a:b"]}, {"model.path": ["a" * 200, "b"]}):
        assert [one.name for one in sweep_runs(grid, [0])] == ["combination0,seed=0", "combination1,seed=0"]


def test_sweep_rows_are_means_over_finished_runs(tmp_path: Path) -> None:
    """Last success 0.5 and 0.7: 0.6 +- 12.7062 * 0.1 (their standard error); area by the trapezoid rule."""
    runs = sweep_runs({"learner.lr": ["1", "2"]}, [0, 1])
    for one, last in zip(runs, (0.5, 0.1, 0.7, None), strict=True):
        folder = tmp_path / "runs" / one.name
        with MetricsLog(folder) as log:
            for update, success in ((0, 0.1), (10, 0.3), (20, last)):
                log.write(update, {"eval": {"success": success, "n": 10}})
        if last is not None:
            (folder / "summary.json").touch()
    first, second = sweep_rows(tmp_path, runs)
    assert first["success"]["mean"] == pytest.approx(0.6) and first["seeds"] == [0, 1]
    assert first["success"]["ci95"] == pytest.approx([0.6 - 1.27062, 0.6 + 1.27062], abs=1e-4)
    assert first["area"]["values"] == pytest.approx([(0.2 + 0.4) / 2, (0.2 + 0.5) / 2])
    assert second["success"]["ci95"] is None and second["unfinished"] == ["lr=2,seed=1"]
    assert rows_text([second, first]).splitlines() == [
        "settings  success    95 % interval  lowest, highest   area  seeds  unfinished",
        "lr=1        60.0%   0.0% to 100.0%   50.0% to 70.0%  0.325      2           0",
        "lr=2        10.0%                -   10.0% to 10.0%  0.200      1           1",
    ]
    assert area([(0, 0.25)]) == 0.25


def test_sweep_takes_no_success_from_an_evaluation_of_errors_alone(tmp_path: Path) -> None:
    """A run that ends with one has no result; one in the middle is left out of the area."""
    runs = sweep_runs({"learner.lr": ["1"]}, range(2))
    none = {**proportion(0, 0), "errors": 4}
    for one, entries in zip(
        runs,
        ([proportion(2, 4), none, proportion(4, 4)], [proportion(2, 4), proportion(4, 4), none]),
        strict=True,
    ):
        folder = tmp_path / "runs" / one.name
        with MetricsLog(folder) as log:
            for update, entry in enumerate(entries):
                log.write(update, {"eval": entry})
        (folder / "summary.json").touch()
    (row,) = sweep_rows(tmp_path, runs)
    assert row["success"]["values"] == [1.0] and row["area"]["values"] == [0.75]
    assert row["unfinished"] == ["lr=1,seed=1"] and row["curves"] == [[(0, 0.5), (2, 1.0)]]


def test_sweep_has_no_interval_where_all_runs_end_alike(tmp_path: Path) -> None:
    """Six runs at 0 % do not make it sure that a seventh is; their range says what was seen."""
    runs = sweep_runs({"learner.lr": ["1"]}, range(6))
    for one in runs:
        folder = tmp_path / "runs" / one.name
        with MetricsLog(folder) as log:
            log.write(0, {"eval": proportion(0, 10)})
        (folder / "summary.json").touch()
    (row,) = sweep_rows(tmp_path, runs)
    assert (row["success"]["mean"], row["success"]["ci95"], row["success"]["range"]) == (
        0.0,
        None,
        [0.0, 0.0],
    )
    assert rows_text([row]).splitlines()[1].split()[:6] == ["lr=1", "0.0%", "-", "0.0%", "to", "0.0%"]


def test_sweep_refuses_what_cannot_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, with the combination, before anything is written."""
    out = tmp_path / "out"
    flags = ["sweep", *SHORT, f"--out={out}", "--model.path=somewhere"]

    def said(*more: str) -> str:
        line = refusal(capsys, *flags, *more)
        assert not out.exists()
        return line

    assert "needs at least one --grid" in said()
    assert "give a setting and its values" in said("--grid=learner.lr")
    assert "use --seeds" in said("--grid=seed=1,2")
    assert "lr twice" in said("--grid=learner.lr=1", "--grid", "learner.lr=2")
    assert "a value twice" in said("--grid=learner.lr=1,1")
    both = ["--grid=credit.method=step_opsd,grpo", "--grid=credit.lambda_mix=0.1"]
    assert "method=grpo, lambda_mix=0.1: " in said(*both) and "credit.lambda_mix" in said(*both)
    assert "temperature=0: rollout.temperature is 0" in said("--grid=rollout.temperature=1,0")
    assert "path=tiny: model.path is 'tiny'" in said("--grid=model.path=somewhere,tiny")
    assert "seeds is 0" in said("--grid=learner.lr=1,2", "--seeds=0")
    assert "jobs is 0" in said("--grid=learner.lr=1,2", "--jobs=0")
    assert "takes the --out of an earlier sweep" in refusal(capsys, "sweep", f"--resume={tmp_path}")
    assert "leave out the other flags" in refusal(capsys, "sweep", f"--resume={tmp_path}", "--jobs=1")


@pytest.mark.timeout(300)
def test_sweep_keeps_what_is_finished_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that fails is told and stops no other; when it is mended, it alone is made."""
    out, late = tmp_path / "out", tmp_path / "late"
    save_model(tiny(), tmp_path / "model")
    grid = [f"--grid=model.path={tmp_path / 'model'},{late}", "--seeds=1", "--seed=7", "--jobs=2"]
    assert run("sweep", *SHORT, *grid, f"--out={out}") == 1
    said, errors = capsys.readouterr()
    assert "combination" not in errors and "late" in errors and "exit code 2" in errors
    assert "1 of 2 runs failed" in errors and f"stepopsd sweep --resume {out}" in errors
    content = json.loads((out / "sweep.json").read_text())
    names = [SweepRun(**one).name for one in content["runs"]]
    summary = out / "runs" / names[0] / "summary.json"
    before = summary.stat().st_mtime_ns
    assert json.loads(summary.read_text())["seed"] == 7
    assert content["rows"][1]["unfinished"] == [names[1]] and "unfinished" in said

    save_model(tiny(), late)
    assert run("sweep", f"--resume={out}") == 0
    rows = json.loads((out / "sweep.json").read_text())["rows"]
    assert [row["seeds"] for row in rows] == [[7], [7]] and summary.stat().st_mtime_ns == before
    assert rows[0]["curves"] == rows[1]["curves"]  # equal models, equal seeds
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "finished" not in capsys.readouterr().out.partition("\n")[0]


def test_sweep_takes_the_threads_that_it_may_and_fills_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OMP_NUM_THREADS bounds the threads of a run, as it does in train, and not how many runs there are."""
    save_model(tiny(), tmp_path / "model")
    monkeypatch.setattr("stepopsd_envs.processors.allowed_processors", lambda: 8)
    monkeypatch.setattr("stepopsd_agent.cli.commands.sweep.allowed_processors", lambda: 8)
    made: list[Job] = []
    monkeypatch.setattr("stepopsd_agent.cli.commands.sweep.run_jobs", lambda jobs, *rest: made.extend(jobs))
    given = [f"--model.path={tmp_path / 'model'}", "--grid=learner.lr=1e-4,2e-4", "--seeds=1"]
    for omp, threads, found in (("1", 4, (1, 8)), ("", 4, (4, 2)), ("", 0, (1, 8)), ("", 64, (8, 1))):
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
        out = tmp_path / f"{omp}-{threads}"
        run("sweep", *SHORT, *given, f"--threads={threads}", f"--out={out}")
        content = json.loads((out / "sweep.json").read_text())
        assert (content["threads"], content["jobs"]) == found
        assert made.pop().environment["OMP_NUM_THREADS"] == str(found[0])
