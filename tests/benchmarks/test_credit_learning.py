"""Learning curves of credit methods: their figures, and the command, short."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
import torch

from benchmarks.credit import learning, record
from benchmarks.credit.checks import check_start
from benchmarks.credit.learning import reached
from benchmarks.credit.paired import differences, over_grpo
from benchmarks.credit.sets import SETS, folder
from benchmarks.report.learning import learning as table
from benchmarks.report.pages import RESULTS
from stepopsd_agent import credit, ops
from stepopsd_agent.config import RunConfig
from stepopsd_agent.credit import registry
from stepopsd_agent.run import area
from stepopsd_envs.extras import install_command
from tests.helpers.builders import build, random_attempts


def test_the_area_is_the_mean_height_of_the_curve() -> None:
    """0.2 at 0, 0.6 at 10, 0.8 at 30: (10 * 0.4 + 20 * 0.7) / 30."""
    assert area([(0, 0.2), (10, 0.6), (30, 0.8)]) == pytest.approx(18 / 30)


def test_the_first_update_that_reaches_a_success_is_noted() -> None:
    """Or none."""
    points = [(0, 0.2), (10, 0.6), (30, 0.8)]
    assert reached(points, 0.6) == 10 and reached(points, 0.9) is None


def test_success_in_training_is_compared_update_by_update() -> None:
    """Where the difference is the same at every update of every seed, its interval is a point."""
    rows = {"grpo": {"trained_on": [[0.1, 0.5], [0.3, 0.2]]}, "own": {"trained_on": [[0.3, 0.7], [0.5, 0.4]]}}
    found = over_grpo(rows)["own"]
    assert [found["value"], *found["ci95"]] == pytest.approx([0.2, 0.2, 0.2])
    rows["own"]["trained_on"] = [[0.1, 0.5], [0.7, 0.6]]  # by 0 and by 0.4
    found = over_grpo(rows)["own"]
    assert found["value"] == pytest.approx(0.2) and found["ci95"] == pytest.approx([0, 0.4])
    assert over_grpo({"own": rows["own"]}) == {}
    rows["grpo"]["trained_on"].append([0.9, 0.9])  # a seed that only GRPO has
    assert over_grpo(rows)["own"] == found
    assert found["by_seed"] == pytest.approx([0.0, 0.4])
    assert found["student95"] == pytest.approx([0.2 - 12.706 * 0.2, 0.2 + 12.706 * 0.2]), (
        "sd .2828, over root 2"
    )
    pairs = differences(rows)
    assert pairs["own"]["grpo"] == found and pairs["grpo"]["own"]["value"] == -found["value"]


@pytest.mark.parametrize("inner", ["grpo", "path_gain", "step_opsd step_norm=none", "gigpo", "dr_grpo"])
def test_matched_advantages_have_the_size_of_grpos(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the signs and ranks of the other method's."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))  # importing the file registers it
    from benchmarks.credit.matched import Matched

    batch = build(random_attempts(3, groups=3, size=4))
    found, base = Matched(inner)(batch), credit.make("grpo")(batch)
    name, *settings = inner.split()
    own = credit.make(name, **dict(setting.split("=") for setting in settings))(batch).advantages
    sizes = [ops.masked_mean(one.advantages.abs(), batch.action_mask) for one in (found, base)]
    assert float(sizes[0]) == pytest.approx(float(sizes[1]), rel=1e-5)
    assert bool((found.advantages.sign() == own.sign()).all())
    assert inner != "grpo" or torch.equal(found.advantages, base.advantages), (
        "to the bit: its runs count twice"
    )


def test_the_table_has_a_row_for_every_method_and_says_what_was_reached() -> None:
    """By area; a method that never reaches the mark says so, GRPO is not compared with itself."""
    row = {"last": [0.5, 0.7], "env_steps": [1000, 3000], "tokens": [10, 30]}
    result = {
        "rows": {
            "grpo": {**row, "updates_to_reach": [None, None]},
            "own x=1": {**row, "updates_to_reach": [10, None]},
        },
        "compared": {
            "grpo": {"iqm": 0.4, "ci95": [0.3, 0.5]},
            "own x=1": {"iqm": 0.6, "ci95": [0.5, 0.7], "better_than_grpo": 0.75, "better_ci95": [0.5, 1.0]},
        },
        "compared_training": {
            "grpo": {"iqm": 0.5, "ci95": [0.4, 0.6]},
            "own x=1": {"iqm": 0.7, "ci95": [0.6, 0.8], "better_than_grpo": 1.0, "better_ci95": [1.0, 1.0]},
        },
        "over_grpo": {"own x=1": {"value": 0.2, "ci95": [-0.1, 0.3]}},
        "set": "few",
        "seeds": 2,
        "matched": False,
        **json.loads((RESULTS / "path_of_an_update.json").read_text()),
    }
    lines = table(result)
    own, base = lines[2], lines[3]
    assert own == (
        "| `own x=1` | 2 | 0.600 [0.50, 0.70] | 0.75 [0.50, 1.00] | 0.60 | 10 (1 of 2) | "
        "0.700 [0.60, 0.80] | +0.200 [-0.10, 0.30] | 2,000 | 20 |"
    )
    assert (
        base == "| `grpo` | 2 | 0.400 [0.30, 0.50] | - | 0.60 | never | 0.500 [0.40, 0.60] | - | 2,000 | 20 |"
    )


def test_a_policy_may_begin_in_other_houses_than_it_is_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warm start of `full` plays in small houses, its training in full ones; what is there is kept."""
    config, seen = SETS["full"].settings(), list[RunConfig]()

    def warmstart(told: RunConfig, _: object, out: Path) -> None:
        seen.append(told)
        out.mkdir(parents=True)

    monkeypatch.setattr(record, "warmstart", warmstart)
    for _ in range(2):
        assert record.start(tmp_path, "full", config) == folder(tmp_path, "full", "start")
    assert [told.env.arguments["tier"] for told in seen] == ["small"]
    assert config.env.arguments["tier"] == "full" and seen[0].warmstart == config.warmstart


def test_runs_of_an_earlier_result_are_not_trained_again(tmp_path: Path) -> None:
    """Their figures are taken over unchanged; a result of other settings is refused by name."""
    earlier = RESULTS / "credit_learning.json"
    options = Namespace(keep=earlier, set="full", match_norms=False, position=None, updates=30, every=10)
    runs, rows = learning.of_result(options), json.loads(earlier.read_text())["rows"]
    assert {method: learning.row(found, 0.65) for method, found in runs.items()} == rows
    for changed in ({"set": "small"}, {"every": 5}, {"position": "inline"}):
        with pytest.raises(SystemExit, match="leave --keep out"):
            learning.of_result(Namespace(**vars(options) | changed))
    assert learning.of_result(Namespace(keep=None)) == {}
    matched = Namespace(**{**vars(options), "match_norms": True})
    assert learning.of_result(matched) == {"grpo": runs["grpo"]}, "of which alone the size is GRPO's anyway"
    every = [run["curve"] for found in runs.values() for run in found]
    check_start(every)
    with pytest.raises(SystemExit, match="different policies"):
        check_start([*every, [(0, 0.5)]])


def finished(run: Path, updates: int) -> None:
    """The folder of a run as it is left at its end, evaluated at every update."""
    run.mkdir(parents=True)
    rows: list[dict[str, object]] = [{"update": n, "train/success": 0.5} for n in range(1, updates + 1)]
    rows += [{"update": n, "eval": {"success": 0.5, "n": 4}} for n in range(updates + 1)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"env_steps": 10, "tokens": {"sampled": 1}, "wall_s": 1.0}
    (run / "summary.json").write_text(json.dumps(summary))


def prepared(out: Path, monkeypatch: pytest.MonkeyPatch, updates: int) -> Namespace:
    """Options of two finished runs, of GRPO and another method, that trained for two updates."""
    monkeypatch.setattr(learning, "start", lambda *_: out)
    parser = ArgumentParser()
    learning.add_training(parser, seeds=1)  # a benchmark that adds these has all that `trained` reads
    options = parser.parse_args(f"--updates {updates} --every 1 --tasks 4 --jobs 1".split())
    options.out = options.recordings = out
    options.set, options.method, options.match_norms = "small", ["grpo", "path_gain"], False
    options.position = None
    for method in options.method:
        if not learning.run_folder(options, method, 0).exists():
            finished(learning.run_folder(options, method, 0), 2)
    return options


def test_a_method_named_twice_is_trained_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, its seed would stand in the table as two, and two processes would write in one folder."""
    options = prepared(tmp_path, monkeypatch, updates=2)
    options.method = ["grpo", "path_gain", "grpo"]
    assert [len(row["curves"]) for row in learning.trained(options).values()] == [1, 1]


def test_finished_runs_of_another_length_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are found by their folder, which does not tell for how many updates they trained."""
    assert learning.trained(prepared(tmp_path, monkeypatch, updates=2))["grpo"]["updates"] == [0, 1, 2]
    with pytest.raises(SystemExit, match=r"\[0, 1, 2\], expected \[0, 1, 2, 3\].*--out"):
        learning.trained(prepared(tmp_path, monkeypatch, updates=3))


def test_runs_with_hindsight_elsewhere_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods without a teacher are the same wherever teachers read, and are not trained again."""
    options = prepared(tmp_path, monkeypatch, updates=2)
    methods = ("grpo", "step_opsd step_norm=none")
    usual = [learning.run_folder(options, method, 0) for method in methods]
    assert "--hindsight.position" not in learning.train_command(options, methods[1], 0)
    options.position = "inline"
    grpo, step_opsd = (learning.run_folder(options, method, 0) for method in methods)
    assert grpo == usual[0] and step_opsd != usual[1] and step_opsd.parts[-3] == "inline"
    assert "--hindsight.position inline" in " ".join(learning.train_command(options, methods[1], 0))


def test_runs_may_begin_at_a_later_seed() -> None:
    """A result of fresh seeds, which runs of an earlier one would be mistaken for."""
    fresh = Namespace(first_seed=5, seeds=3, keep=None)
    assert list(learning.seeds_of(fresh)) == [5, 6, 7]
    with pytest.raises(SystemExit, match="leave --keep out"):
        learning.seeds_of(Namespace(**vars(fresh) | {"keep": Path("earlier.json")}))


def never(*_: object) -> None:
    """In place of work that takes minutes."""
    raise AssertionError("this should not have begun")


@pytest.mark.parametrize("method", ["path_gian", "path_gain idle_costs=1", "mine_of_a_test:mine"])
def test_a_method_that_is_not_there_is_refused_before_anything_is_trained(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warm start alone takes minutes, and each run would meet the error by itself."""
    monkeypatch.setattr(learning, "start", never)
    arguments = ["--recordings", str(tmp_path), "--out", str(tmp_path / "runs"), "--method", "grpo", method]
    monkeypatch.setattr("sys.argv", ["learning", *arguments])
    with pytest.raises(SystemExit) as refused:
        learning.main()
    assert refused.value.code == 2 and not (tmp_path / "runs").exists()
    assert method.partition(" ")[0].rpartition(":")[2] in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_package_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that the table needs, hours later."""
    monkeypatch.setitem(sys.modules, "rliable", None)
    monkeypatch.setattr(learning, "start", never)
    monkeypatch.setattr("sys.argv", ["learning", "--recordings", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as refused:
        learning.main()
    assert refused.value.code == 2 and install_command("bench") in capsys.readouterr().err


def test_official_games_are_looked_for_before_policies_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which takes an hour."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(record, "policies", never)
    monkeypatch.setattr("sys.argv", ["record", "--out", str(tmp_path / "out"), "--set", "official"])
    with pytest.raises(SystemExit) as refused:
        record.main()
    assert refused.value.code == 2 and "games='valid_seen' not found" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.samples
def test_curves_of_two_methods_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seeds each; a second call finds everything done."""
    pytest.importorskip("rliable")
    recordings, runs, result = tmp_path / "recordings", tmp_path / "runs", tmp_path / "learning.json"
    monkeypatch.setattr("sys.argv", ["record", "--out", str(recordings), "--short"])
    assert record.main() == 0
    sizes = ["--seeds", "2", "--updates", "2", "--every", "1", "--tasks", "4"]
    folders = ["--recordings", str(recordings), "--out", str(runs), "--set", "small"]
    chosen = ["--method", "grpo", "path_gain idle_cost=0.5", "--json", str(result), "--match_norms"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["learning", *folders, *sizes, *chosen])
        assert learning.main() == 0
    found = json.loads(result.read_text())
    assert found["rows"]["grpo"]["updates"] == [0, 1, 2]
    assert len(found["rows"]["path_gain idle_cost=0.5"]["curves"]) == 2
    assert [len(success) for success in found["rows"]["grpo"]["trained_on"]] == [2, 2]
    assert 0 <= found["compared_training"]["grpo"]["iqm"] <= 1
    assert 0 <= found["compared"]["path_gain idle_cost=0.5"]["better_than_grpo"] <= 1
    assert capsys.readouterr().err.count("done") == 4
