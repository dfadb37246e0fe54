"""Columns of a recording: those that a run of training would compute for the same method."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.credit import record
from benchmarks.credit.recording import Recording, collated
from benchmarks.credit.sets import PARTS, folder
from stepopsd_agent.config import HindsightConfig, RunConfig
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Scorer
from stepopsd_wrappers import Episode
from tests.agent.learner.test_columns import played
from tests.helpers.models import DType, tiny

GAP = {"student_logprobs", "teacher_logprobs"}


def won(episode: Episode, yes: bool) -> Episode:
    """The attempt as one that did, or did not, reach the goal."""
    last = episode.steps[-1]
    return replace(episode, steps=(*episode.steps[:-1], replace(last, info={**last.info, "won": yes})))


@pytest.mark.samples
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_student_of_a_recording_is_scored_by_the_passes_of_the_teacher(
    dtype: DType, layout: str, tmp_path: Path
) -> None:
    """Each column is that of training; the success, which is told nothing, has no gap beside the others."""
    policy, config = tiny(dtype), RunConfig(hindsight=HindsightConfig(mode="peer", max_peer_tokens=20))
    episodes = [won(episode, n == 1) for n, episode in enumerate(played(policy, layout=layout))]
    batch = collated(episodes, policy, config)
    trained = fill(batch, episodes, GAP, policy, scorer=Scorer(policy), hindsight=config.hindsight)
    success = batch.steps.episode_of_step[batch.tokens.step_of_token.clamp_min(0)] == 1
    for _ in ("computed", "kept"):
        recording = Recording(tmp_path, config, policy, [episodes], [batch])
        recording.prepare(GAP)
        found = recording.batches[0]
        assert all(torch.equal(found.column(name), trained.column(name)) for name in GAP)
        gap = (found.column("teacher_logprobs") - found.column("student_logprobs")).abs()
        assert float(gap[batch.action_mask & success].max()) == 0
        assert float(gap[batch.action_mask & ~success].max()) > 0
        assert all(recording.costs[name].tokens > 0 for name in GAP)


def test_a_short_recording_is_not_continued_as_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``--short`` left would pass for the recording: hardly trained policies, on four groups."""
    monkeypatch.setattr(record, "policies", lambda *_: None)
    for part in PARTS:
        place = folder(tmp_path, "small", "start", part)
        place.mkdir(parents=True)
        (place / "groups.json").write_text(json.dumps({"groups": 4}))
    with pytest.raises(SystemExit, match=r"start/tuning has 4 groups, expected 64: .* another --out"):
        record.record(tmp_path, "small", short=False)
