"""Search-QA through the learner: the commands, the records, and what happens when the retriever fails."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent import credit
from stepopsd_agent.config import HindsightConfig
from stepopsd_agent.hindsight import hindsight_blocks
from stepopsd_agent.learner import told_answers
from stepopsd_agent.models import Policy, load_policy
from stepopsd_agent.rollout import (
    Attempt,
    EnvironmentDownError,
    SamplingParams,
    play_agent,
    rollout,
    success_table,
)
from stepopsd_agent.rollout.failures import FAILURE_LIMIT
from stepopsd_agent.run import Interrupted, Run, Trainer
from stepopsd_agent.run.files import latest_checkpoint, load_checkpoint, read_rows
from stepopsd_agent.tasks import get, make_plain_env, make_stack, task_ids
from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_wrappers import make_text_env, read_episodes, replay
from tests.helpers.command_line import run
from tests.helpers.models import tiny
from tests.helpers.search_qa import write_rows
from tests.helpers.search_qa_runs import SEARCH_QA, search_flags, search_run_config

pytestmark = pytest.mark.samples


class Failing:
    """A retriever that finds nothing and, from some search on, fails."""

    fingerprint = "failing"

    def __init__(self, sound: int) -> None:
        self.sound, self.asked = sound, 0

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Count, and fail when due."""
        self.asked += 1
        if self.asked > self.sound:
            raise RetrieverError("the server is gone", transient=True)
        return [[] for _ in queries]

    def close(self) -> None:
        """Nothing to give back."""


def failing_envs(count: int, retriever: Failing) -> list[gym.Env[str, str]]:
    """Environments that share it."""
    made = [SearchQAEnv(tier="tiny", retriever=retriever, max_turns=2) for _ in range(count)]
    return [make_text_env(env, format="search") for env in made]


def trainer(model: Path, **sections: Any) -> Trainer:
    """Of the model that searches."""
    return Trainer(search_run_config(**sections), credit.make("grpo"), searcher(model), run="run")


def searcher(model: Path) -> Policy:
    """A model that knows the form of actions and copies names, if not always the right ones."""
    return load_policy(model)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder made by the command."""
    out = tmp_path_factory.mktemp("warm") / "model"
    assert run("warmstart", *search_flags(), f"--out={out}") == 0
    return out


@pytest.fixture(scope="module")
def runs(warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a warm start and a training that began with it, made by the commands."""
    out = tmp_path_factory.mktemp("runs")
    (out / "warm").symlink_to(warm)
    flags = [*search_flags(), f"--model.path={out / 'warm'}"]
    assert run("train", *flags, f"--out={out / 'run'}") == 0
    return out


def test_commands_warm_start_train_and_evaluate(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The very same that play games; the questions of evaluation are from another world."""
    notes = json.loads((runs / "warm" / "warmstart.json").read_text())
    summary = json.loads((runs / "run" / "summary.json").read_text())
    assert notes["expert"]["success"] > 0.5 and set(notes["evaluation"]["means"]) == {"f1", "search_count"}
    assert summary["final"]["n"] == 4 and summary["fingerprint"] != summary["eval_fingerprint"]
    assert summary["engine_version"].startswith("search_qa ")
    assert len(read_rows(runs / "run" / "metrics.jsonl")) == 4
    model = f"--model.path={runs / 'run' / 'model'}"
    assert run("eval", *search_flags(), model, f"--out={runs / 'eval'}") == 0
    assert "of 4 questions" in capsys.readouterr().out
    tasks = {episode.task_id for episode in read_episodes(runs / "eval" / "episodes")}
    assert all(task.startswith("synthetic/tiny/test/") for task in tasks)


def test_commands_train_on_whole_responses_and_their_actions(runs: Path) -> None:
    """The environment gets what was said; the span of tokens is the action with its tags."""
    kinds = set()
    episodes = list(read_episodes(runs / "run" / "episodes"))
    assert len(episodes) == 3 * 8
    for episode in episodes:
        for step in episode.steps[1:]:
            assert step.action == step.response and step.tokens is not None
            parsed = protocol.parse(step.response)
            kinds.add(step.info["step"]["kind"])
            start, end = step.tokens.action_span
            assert (start < end) == (parsed.kind != "invalid")
    assert {"search", "answer"} <= kinds


def test_commands_replay_what_was_recorded(runs: Path) -> None:
    """Questions, searches and passages."""
    assert run("replay", str(runs / "run")) == 0


def test_commands_refuse_to_go_on_with_another_retriever(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its fingerprint is part of what is trained on."""
    for name in ("checkpoints", "episodes", "model"):
        (tmp_path / name).symlink_to(runs / "run" / name)
    config = (runs / "run" / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config.replace("tier: tiny", "tier: small"))
    assert run("train", "--resume", str(tmp_path)) == 2
    assert "was begun with fingerprint" in capsys.readouterr().err


@pytest.mark.parametrize("agent", ["random", "expert", "oracle"])
def test_commands_evaluate_agents_on_several_sets(
    agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for each file, one for all, and the mean of the sets; each says which data it is about."""
    rows = [{"id": f"q{k}", "question": "Who built it?", "golden_answers": ["Ada Brenk"]} for k in range(3)]
    text = {"id": "p", "title": "It", "contents": '"It"\nIt was built by Ada Brenk.'}
    corpus = write_rows(tmp_path / "corpus.jsonl", [text])
    sizes = {"nq": 3, "pop": 1}
    files = [str(write_rows(tmp_path / f"{name}.jsonl", rows[:size])) for name, size in sizes.items()]
    flags = [f"--env.id={SEARCH_QA}", f"--env.corpus={corpus}", f"--eval.questions={json.dumps(files)}"]
    assert run("eval", *flags, f"--agent={agent}", f"--out={tmp_path / 'out'}") == 0
    heading, first, second, all_, mean, figures, _ = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "set" and heading.endswith("questions")
    assert [line.split()[0] for line in (first, second, all_)] == ["nq", "pop", "all"]
    assert mean.startswith("mean of the 2 sets: ") and "f1" in figures and "search_count" in figures
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["n"] == 4 and {name: one["n"] for name, one in found["by_set"].items()} == sizes
    assert len({found["fingerprint"], *(one["fingerprint"] for one in found["by_set"].values())}) == 3
    assert found["success"] == 1.0 or agent == "random"


def test_rollout_records_a_failed_search_as_an_error(warm: Path) -> None:
    """It is neither a success nor a failure, and the others go on."""
    # The first episodes of both slots have at most two turns each, so their searches are answered.
    policy, retriever = searcher(warm), Failing(sound=4)
    envs = failing_envs(2, retriever)
    attempts = [Attempt(name, seed=7, group=k) for k, name in enumerate(task_ids(envs[0])[:48])]
    params = SamplingParams(max_tokens=16, max_row_tokens=768)
    episodes = rollout(policy, envs, attempts, params, seed="test")
    errors = [episode.steps[-1].error for episode in episodes]
    assert [episode.failed for episode in episodes] == [error is not None for error in errors]
    assert "RetrieverError: the server is gone" in errors and None in errors
    table = success_table(episodes)
    assert table["errors"] == sum(error is not None for error in errors) == 48 - table["n"]


def test_play_agent_goes_on_after_a_failed_search() -> None:
    """So do the agents of the package."""
    env = make_plain_env(search_run_config().env)
    env.unwrapped._spec = Failing(sound=2)  # type: ignore[attr-defined]
    agent = get(SEARCH_QA).agents["oracle"](env)
    episodes = play_agent(agent, env, task_ids(env)[:8], seed=0)
    assert len(episodes) == 8 and any(episode.failed for episode in episodes)


def test_run_stops_when_the_retriever_is_down_and_goes_on_when_it_is_back(warm: Path, tmp_path: Path) -> None:
    """After twenty failures in a row, with the way on; then the run ends as if nothing had been."""
    sections: dict[str, Any] = {"rollout": {"tasks": 8, "group_size": 8, "slots": 16}}
    whole = Run(trainer(warm, **sections), tmp_path / "whole")
    whole.go(lambda: False)
    whole.close()

    down = Run(trainer(warm, **sections), tmp_path / "run")
    step, sound = down.trainer.step, down.trainer.envs

    def failing_from_the_second_update() -> Any:
        if down.trainer.update == 1:
            down.trainer.envs = failing_envs(16, Failing(sound=0))
        return step()

    down.trainer.step = failing_from_the_second_update  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match=rf"server is gone.*stepopsd train --resume {tmp_path / 'run'}"):
        down.go(lambda: False)
    down.close()
    assert sound is not down.trainer.envs
    failed = [e for e in read_episodes(tmp_path / "run" / "episodes") if e.failed]
    assert failed and not any(e.success for e in failed)
    path = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert path is not None and load_checkpoint(path)[1]["update"] == down.trainer.update == 1

    kept = sorted((tmp_path / "run" / "checkpoints").iterdir())
    early = Run(trainer(warm, **sections), tmp_path / "run")  # it is not back yet
    early.trainer.envs = failing_envs(16, Failing(sound=0))
    with pytest.raises(Interrupted, match="server is gone"):
        early.go(lambda: False)
    early.close()
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == kept

    again = Run(trainer(warm, **sections), tmp_path / "run")
    again.go(lambda: False)
    again.close()
    assert again.trainer.update == 3
    rows = {name: read_rows(tmp_path / name / "metrics.jsonl") for name in ("whole", "run")}
    assert [row["update"] for row in rows["run"]] == list(range(4))
    assert rows["run"] == rows["whole"]


def test_trainer_counts_failures_over_updates(warm: Path) -> None:
    """Where an update has fewer episodes than it takes."""
    one = trainer(warm, rollout={"tasks": 1, "group_size": 2})
    one.envs = failing_envs(2, Failing(sound=0))
    with pytest.raises(EnvironmentDownError, match=f"{FAILURE_LIMIT} times in a row"):
        for _ in range(4 * FAILURE_LIMIT):
            one.step()
    assert 2 * one.update >= FAILURE_LIMIT - 2
    assert one.counters.errors >= FAILURE_LIMIT - 2 and one.counters.wasted > 0


def test_replay_finds_a_changed_passage() -> None:
    """Records tell which passages were shown."""
    env = make_plain_env(search_run_config().env)
    (episode,) = play_agent(get(SEARCH_QA).agents["oracle"](env), env, task_ids(env)[:1], seed=0)
    assert replay(episode).equal
    changed = json.loads(episode.to_json())
    changed["steps"][-1]["info"]["retrieved"] = ["another"]
    assert replay(type(episode).from_json(json.dumps(changed))).field == "info.retrieved"


def test_window_layout_asks_for_search_or_answer() -> None:
    """And lists no commands, as there are none."""
    config = search_run_config(env={"layout": "window"}).env
    env = make_stack(config)
    env.reset(seed=0)
    prompt, *_ = env.step("<search>Ada</search>")
    assert "You did: <search>Ada</search>" in prompt and "Commands you can give" not in prompt
    assert "one query inside <search> and </search>" in prompt


def test_trainer_gives_credit_by_gold_answers(warm: Path) -> None:
    """The environment knows the answers that IGPO scores, and the update moves the weights."""
    one = Trainer(search_run_config(), credit.make("igpo"), searcher(warm), run="run")
    _, metrics, _ = one.step()
    one.close()
    assert metrics["update/grad_norm"] > 0


def test_hindsight_tells_the_gold_answer_of_the_task() -> None:
    """The environment is asked for it; the player's answer, right or wrong, plays no part."""
    policy, env = tiny(), make_stack(search_run_config().env)
    player = get(SEARCH_QA).players["random"](env)
    episodes = [play_agent(player, env, [task], seed=0)[0] for task in task_ids(env)[:2]]
    answers = told_answers([env], episodes)
    blocks = hindsight_blocks(policy, HindsightConfig(mode="gold"), episodes, answers)
    for block, spellings in zip(blocks, answers, strict=True):
        assert spellings and not isinstance(block, Mapping)
        line = f"The correct answer is {' or '.join(spellings)}.\n"
        assert list(block) == [
            i for ids in policy.encode([f"<hindsight>\n{line}", "</hindsight>\n"]) for i in ids
        ]
