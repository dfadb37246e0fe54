"""The two knobs of StepOPSD: what each can and cannot change, the grid, the choices and their page."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from benchmarks.credit import record, two_knobs
from benchmarks.credit.two_knobs import CLIPS, LAMBDAS, choices, grid, moved
from benchmarks.report.knobs import knobs
from stepopsd_agent.accuracy import Judged
from stepopsd_agent.batch import Batch
from stepopsd_agent.config.run import HindsightMode
from tests.helpers.builders import build, random_attempts


def judgeable() -> tuple[Batch, Judged]:
    """Random attempts with a teacher that disagrees at random, and a made-up truth."""
    batch = build(random_attempts(5, groups=4, size=4))
    rng, groups = np.random.default_rng(0), batch.episodes.group_of_episode.tolist()
    counts = torch.bincount(batch.steps.episode_of_step, minlength=batch.num_episodes).tolist()
    progress = [rng.choice([-1.0, 0.0, 1.0], size=count) for count in counts]
    won = [bool(one) for one in batch.episodes.success]
    return batch, Judged(groups, progress, won, [False] * len(groups), [None] * len(groups))


def test_moved_is_the_mean_distance_from_the_mean() -> None:
    """Credit 1 and 3 lies 1 from 2, a half of it; the same everywhere moves nothing; none is left out."""
    assert moved([np.array([1.0, 3.0])]) == 0.5
    assert moved([np.array([-1.0, -3.0]), np.array([2.0, 2.0]), np.zeros(3)]) == 0.25
    assert moved([np.zeros(2)]) == 0.0


def test_lambda_mix_scales_what_is_moved_and_ranks_nothing() -> None:
    """At 0 nothing is moved and AUC is chance; above it AUC does not change."""
    batch, truth = judgeable()
    cells = grid([batch], truth, "none")
    assert len(cells) == len(LAMBDAS) and len(cells[0]) == len(CLIPS)
    for column in range(len(CLIPS)):
        ranks = [line[column]["auc_unmixed"]["value"] for line in cells]
        assert ranks[0] == 0.5 and max(ranks[1:]) == pytest.approx(min(ranks[1:]), abs=1e-9)
        amounts = [line[column]["moved"] for line in cells]
        assert amounts[0] == pytest.approx(0.0, abs=1e-6) and amounts == sorted(amounts)
        assert amounts[-1] > 0.01


def test_every_choice_has_the_papers_among_its_values() -> None:
    """One at a time; teachers with other weights only where there are some."""
    found = list(choices(["end"], gold=True))
    assert {"step_norm", "weight", "span", "hindsight.mode", "hindsight.position", "teacher", "schedule"} <= {
        one.name for one in found
    }
    assert [one.weights for one in found if one.name == "teacher"] == ["", "end"]
    assert len({(one.name, one.value) for one in found}) == len(found)
    modes = [one.value for one in found if one.name == "hindsight.mode"]
    assert modes == list(get_args(HindsightMode)), "every mode there is"
    assert "gold" not in [one.value for one in choices([], gold=False)]


@pytest.mark.slow
@pytest.mark.samples
def test_both_knobs_are_judged_trained_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Short: two values of each knob; a picture, a page, and curves of every cell."""
    monkeypatch.setattr(two_knobs, "LAMBDAS", (0.0, 0.5))
    monkeypatch.setattr(two_knobs, "CLIPS", (0.2,))
    monkeypatch.setattr(two_knobs, "LEARNED", ((0.0, 1.0), (0.2,)))
    recordings, out = tmp_path / "recordings", tmp_path / "runs"
    monkeypatch.setattr("sys.argv", ["record", "--out", str(recordings), "--short"])
    assert record.main() == 0
    result, picture = tmp_path / "found.json", tmp_path / "found.png"
    sizes = ["--seeds", "1", "--updates", "2", "--every", "1", "--tasks", "4", "--stage", "end", "--short"]
    files = ["--json", str(result), "--picture", str(picture), "--recordings", str(recordings)]
    monkeypatch.setattr("sys.argv", ["two_knobs", "--out", str(out), "--learn", *sizes, *files])
    assert two_knobs.main() == 0
    assert "one choice at a time" in capsys.readouterr().out
    found = json.loads(result.read_text())
    assert np.shape(found["learning"]["area"]) == (2, 1, 1) and picture.stat().st_size > 5_000
    assert found["learning"]["lambda_mix"] == [0.0, 1.0]
    page = "\n".join(knobs(found))
    assert "| hindsight.mode | `next_observation` |" in page
    assert "| hindsight.mode | `peer` |" in page and "Area under the learning curve" in page
