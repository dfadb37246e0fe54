"""Recorded episodes read by another model: what its teacher reads, and how both score."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
import torch

from benchmarks.credit import accuracy
from benchmarks.credit.reader import (
    hindsight_text,
    informed,
    kept_group,
    mean_gap,
    read_batch,
    teacher_credit,
    with_reading,
)
from stepopsd_agent import ops
from stepopsd_agent.config import config_from_dict
from stepopsd_agent.hindsight import choose_peers
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks import get
from stepopsd_wrappers import Episode, RecordEpisode
from tests.helpers.models import tiny

GAME = "stepopsd/ALFWorld-v0"


def played() -> list[Episode]:
    """A success and a failure at one task, without tokens."""
    env = RecordEpisode(gym.make(GAME, tier="tiny", num_games=1, step_limit=12))
    episodes = [
        play_agent(get(GAME).players[name](env), env, env.unwrapped.task_ids, seed=0)[0]  # type: ignore[attr-defined]
        for name in ("expert", "random")
    ]
    assert [episode.success for episode in episodes] == [True, False]
    return [replace(episode, group=0, member=number) for number, episode in enumerate(episodes)]


def said(policy: Policy, episode: Episode, first: str) -> list[float]:
    """Log-probabilities of the commands' tokens, from one pass over the whole episode written out."""
    ids = policy.prompt_format.first_ids(first + "\n> ")
    select = [False] * len(ids)
    for step in episode.steps[1:]:
        response = policy.prompt_format.response_ids(step.response)
        turn = policy.prompt_format.turn_ids(f"\n{step.observation}\n> ", closed=True)
        ids, select = [*ids, *response, *turn], select + [True] * len(response) + [False] * len(turn)
    with torch.inference_mode():
        scores = policy.token_logprobs(torch.tensor([ids]), torch.tensor([select]))
    return scores[0][torch.tensor(select)].tolist()


def test_the_teacher_is_told_the_end_and_the_commands_of_a_success() -> None:
    """In plain English; a success has no peer, and is told its end alone."""
    won, _ = played()
    commands = "".join(f"> {step.action}\n" for step in won.steps[1:])
    peer = "Another attempt at the same task succeeded with these commands:\n"
    assert hindsight_text(False, won) == f"Looking back: This attempt ended in failure.\n{peer}{commands}"
    assert hindsight_text(True, None) == "Looking back: This attempt ended in success.\n"
    text = informed(won, None).steps[0].observation
    assert text == f"{won.steps[0].observation}\n\nLooking back: This attempt ended in success."
    assert informed(won, None).steps[1:] == won.steps[1:]


def test_student_and_teacher_say_what_whole_passes_say(tmp_path: Path) -> None:
    """The teacher's differ by the hindsight in the first message alone."""
    policy, episodes, config = tiny(), played(), config_from_dict({"env": {"response": "plain"}})
    peers = choose_peers(episodes)
    assert peers == [None, episodes[0]]
    scorer, path = Scorer(policy, attention="padded"), tmp_path / "columns" / "0.safetensors"
    found = kept_group(path, episodes, policy, scorer, config)
    batch = with_reading(read_batch(episodes, policy, config), [found["student"]], [found["teacher"]])
    student, teacher = batch.tokens.old_logprobs, batch.tokens.teacher_logprobs
    assert teacher is not None and batch.tokens.student_logprobs is student
    for number, episode in enumerate(episodes):
        mask = batch.action_mask[number]
        first = episode.steps[0].observation
        own = said(policy, episode, first)
        assert student[number][mask].tolist() == pytest.approx(own, abs=1e-4)
        behind = said(policy, episode, informed(episode, peers[number]).steps[0].observation)
        assert teacher[number][mask].tolist() == pytest.approx(behind, abs=1e-4) != own
    assert not teacher[~batch.action_mask].any()
    mean = ops.step_mean(teacher, batch.tokens.step_of_token, batch.num_steps)
    assert teacher_credit(batch).tolist() == pytest.approx(mean.tolist())
    assert mean_gap([batch]) > 0
    again = kept_group(path, [], policy, scorer, config)  # from the file alone
    assert all(torch.equal(again[name], found[name]) for name in found) and found["cost"][0] > 0


def test_a_reader_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read."""
    monkeypatch.setattr("sys.argv", ["accuracy", "--out", str(tmp_path), "--reader", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as raised:
        accuracy.main()
    assert raised.value.code == 2 and "there is no such folder" in capsys.readouterr().err
