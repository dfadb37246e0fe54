"""Columns of a recording: those that a run of training would compute for the same method."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from benchmarks.credit import record, sets
from benchmarks.credit.accuracy import judge
from benchmarks.credit.checks import check_attempts, check_warm_start
from benchmarks.credit.recording import Recording, collated, load_recording
from benchmarks.credit.sets import PARTS, SETS, folder
from stepopsd_agent.accuracy import Judged, Values, entries
from stepopsd_agent.config import HindsightConfig, RunConfig
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Scorer
from stepopsd_agent.run.files import save_model
from stepopsd_agent.tasks import get
from stepopsd_wrappers import Episode, EpisodeWriter
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


@pytest.mark.samples
def test_hindsight_elsewhere_has_columns_of_its_own(tmp_path: Path) -> None:
    """The recipe's place and another one are judged on the same recording, each with its own teacher."""
    policy = tiny("float32")
    save_model(policy, folder(tmp_path, "small", "start"))
    place = folder(tmp_path, "small", "start", "test")
    with EpisodeWriter(place / "episodes") as writer:
        for episode in played(policy):
            writer.append(episode)
    teachers = {}
    for position in (None, "prefix", "inline", "inline"):
        recording = load_recording(tmp_path, "small", "start", "test", position=position)
        recording.prepare({"teacher_logprobs"})
        teachers[position] = recording.batches[0].column("teacher_logprobs")
    assert torch.equal(teachers["prefix"], teachers[None]), "the recipe's"
    assert not torch.equal(teachers["inline"], teachers[None])
    kept = {path.relative_to(place / "columns").as_posix() for path in place.rglob("*.safetensors")}
    assert kept == {f"{place}teacher_logprobs.safetensors" for place in ("", "prefix/", "inline/")}


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


@pytest.mark.samples
def test_a_set_with_a_model_begins_with_it_and_records_its_own_stages_and_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large model is warm-started, not trained further; a tiny one stands in for it."""
    save_model(tiny(), tmp_path / "model")
    chosen = SETS["pretrained"]
    few = {**chosen.warmstart, "demonstrations": 2}
    monkeypatch.setitem(SETS, "pretrained", replace(chosen, model=str(tmp_path / "model"), warmstart=few))
    record.record(tmp_path / "out", "pretrained", short=True)
    recorded = [path.relative_to(tmp_path / "out").parent for path in tmp_path.rglob("groups.json")]
    assert recorded == [Path("pretrained/start/test")]
    begun = json.loads((folder(tmp_path / "out", "pretrained", "start") / "tokenizer.json").read_text())
    assert begun["model"] == json.loads((tmp_path / "model" / "tokenizer.json").read_text())["model"]
    assert not folder(tmp_path / "out", "pretrained", "middle").exists()


def test_a_policy_of_a_short_recording_does_not_begin_a_whole_one(tmp_path: Path) -> None:
    """An interrupted ``--short`` leaves a model without groups, that has hardly learned to play."""
    config = SETS["small"].settings()
    begun = folder(tmp_path, "small", "start")
    begun.mkdir(parents=True)
    for settings in (config.warmstart, replace(config.warmstart, demonstrations=200)):
        notes = {"config": {"warmstart": vars(settings)}}
        (begun / "warmstart.json").write_text(json.dumps(notes))
        if settings == config.warmstart:
            check_warm_start(begun, config.warmstart)
    with pytest.raises(SystemExit, match=r"demonstrations = 200, expected 6000: .* another --out"):
        record.record(tmp_path, "small", short=False)


def test_values_of_other_attempts_are_not_mixed(tmp_path: Path) -> None:
    """Values are the less noisy the more attempts they come from, and the ceiling of r is made of halves."""
    known = [Values(0, 0, ((1.0, 0.0), (0.0, 0.0)), (0.0, 1.0))]
    check_attempts(tmp_path / "values.jsonl", known, 2)
    check_attempts(tmp_path / "values.jsonl", [], 32)
    with pytest.raises(SystemExit, match="values from 2 attempts per state, expected 32: give --attempts 2"):
        check_attempts(tmp_path / "values.jsonl", known, 32)


def test_a_method_whose_columns_a_recording_lacks_is_named(tmp_path: Path) -> None:
    """One that reads earlier updates, or asks an environment, cannot be judged on recorded groups."""
    policy, config = tiny(), RunConfig()
    episodes = played(policy)
    recording = Recording(tmp_path, config, policy, [episodes], [collated(episodes, policy, config)])
    for name, column in (("tigpo", "past"), ("igpo", "gold_answer_logprob")):
        entry = entries([name])[0]
        with pytest.raises(SystemExit, match=f"{entry.name} cannot be judged: the column {column} needs"):
            judge(recording, entry, cast(Judged, None))  # not reached


def test_policies_play_with_the_system_message_of_their_warm_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, the chat template of a language model puts its own there."""
    loaded: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(sets, "load_policy", lambda path, **given: loaded.setdefault(path, given))
    sets.stage_policy(tmp_path, "pretrained", "start")
    wanted = get("stepopsd/ALFWorld-v0").system
    assert wanted and loaded == {
        str(tmp_path / "pretrained" / "start" / "model"): {"device": "cpu", "system": wanted}
    }
