"""Environments as TRL's tools: what they say and refuse, and two updates of TRL's own loop with them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stepopsd_agent.adapters import CommandTools, QuestionTools, environment_factory, tool_rows
from stepopsd_agent.config import EnvConfig, WarmstartConfig
from stepopsd_agent.learner import clone
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import demonstrate
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_wrappers import Episode
from tests.helpers.runs import draw_until, run_config

GAMES = run_config().env
QUESTIONS = EnvConfig(
    id="stepopsd/SearchQA-v0",
    arguments={"tier": "tiny", "task_types": ["1-hop"], "max_turns": 2, "topk": 2, "num_questions": 1},
)


def test_trl_tools_play_a_game() -> None:
    """The opening, the answers to commands, the return, and no step after the end."""
    env = environment_factory(GAMES)()
    (row,) = tool_rows(GAMES)
    text = env.reset(**row)
    assert isinstance(env, CommandTools) and "Your task is to" in text
    assert env.act("look").startswith("You are in the middle of a room") and env.get_reward() == 0.0
    for _ in range(7):
        env.act("no such thing")
    with pytest.raises(ValueError, match="The episode is over"):
        env.act("look")
    assert env.reset(**row) == text


@pytest.mark.samples
def test_trl_tools_answer_a_question() -> None:
    """The rules of tags are left out; the right answer pays 1."""
    env = environment_factory(QUESTIONS)()
    (row,) = tool_rows(QUESTIONS)
    text = env.reset(**row)
    assert isinstance(env, QuestionTools) and text.startswith("Question: ") and "<search>" not in text
    assert env.search("who").startswith("<information>")
    (answer, *_) = env._env.get_wrapper_attr("golden_answers")(row["task_id"])
    assert env.answer(answer) == protocol.ANSWERED
    assert env.get_reward() == 1.0


@pytest.mark.samples
def test_trl_tools_report_an_environment_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its attempt has no reward, and TRL leaves it out."""

    def gone(action: str) -> None:
        raise RetrieverError("the server is gone", transient=True)

    env = environment_factory(QUESTIONS)()
    assert isinstance(env, QuestionTools)
    env.reset(**tool_rows(QUESTIONS)[0])
    monkeypatch.setattr(env._env.unwrapped, "step", gone)
    with pytest.raises(RetrieverError, match="the server is gone"):
        env.search("who")
    assert env.get_reward() is None


def test_trl_tools_are_known_by_their_ids() -> None:
    """An unknown environment is refused by name; rows have seeds of their own."""
    with pytest.raises(ValueError, match="did you mean 'stepopsd/ALFWorld-v0'"):
        environment_factory(EnvConfig(id="stepopsd/ALFWorlds-v0"))
    rows = tool_rows(EnvConfig(arguments={"tier": "tiny", "num_games": 3}), prompt="Go.\n", seed=1)
    assert len({row["seed"] for row in rows}) == 3 and rows[0]["prompt"] == [
        {"role": "user", "content": "Go.\n"}
    ]


def tool_call(name: str, argument: str, value: str) -> dict[str, Any]:
    """A message of the assistant that calls one tool."""
    function = {"name": name, "arguments": {argument: value}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def game_calls(action: str) -> tuple[str, str, str]:
    """A command as a call."""
    return "act", "command", action


def question_calls(action: str) -> tuple[str, str, str]:
    """A search or an answer as a call."""
    parsed = protocol.parse(action)
    return (
        ("search", "query", parsed.content) if parsed.kind == "search" else ("answer", "text", parsed.content)
    )


def taught(env: EnvConfig, calls: Callable[[str], tuple[str, str, str]], count: int) -> Policy:
    """A tiny model that has seen demonstrations in TRL's form of tool calls."""
    tools = pytest.importorskip(
        "benchmarks.learner.update_speed_tools", reason="the extra trl is not installed"
    )
    made, (row, *_) = environment_factory(env)(), tool_rows(env)
    opening = made.reset(**row)
    stack = make_stack(
        replace(env, arguments={**env.arguments, **({"step_limit": 30} if env is GAMES else {})})
    )
    episodes = [d.episode for d in demonstrate(stack, [task_ids(stack)[0]] * count, 0.1, 0)]
    # In the order of their names, in which TRL tells a model of them.
    methods = [made.act] if isinstance(made, CommandTools) else [made.answer, made.search]

    def messages(episode: Episode) -> list[dict[str, Any]]:
        chat = [{"role": "user", "content": row["prompt"][0]["content"] + opening}]
        for step in episode.steps[1:]:
            name, argument, value = calls(step.action)
            chat += [tool_call(name, argument, value)]
            chat += [{"role": "tool", "name": name, "content": step.observation}]
        return [*chat, {"role": "assistant", "content": tools.DONE}]

    plain = tools.tool_tokenizer(["-"], 300)
    if not tools.is_chat_template_prefix_preserving(plain):
        plain.chat_template = tools.get_training_chat_template(plain)
    render = {"tools": methods, "tokenize": False}
    texts = [str(plain.apply_chat_template(messages(episode), **render)) for episode in episodes]
    pieces = [p for text in texts for p in text.replace(tools.START, tools.END).split(tools.END)]
    tokenizer = tools.tool_tokenizer(pieces, 500)
    shape = replace(
        run_config().model,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        vocab_size=len(tokenizer),
        max_positions=2048,
    )
    model = tiny_policy(pieces, shape, "cpu", 0).model
    torch.nn.Module.train(model.resize_token_embeddings(len(tokenizer)), False)
    for known in (model.config, model.generation_config):
        known.eos_token_id, known.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    policy = Policy(model, tokenizer)
    clone(
        policy,
        [tools.tool_example(tokenizer, t, 0.1) for t in texts],
        WarmstartConfig(batch_rows=2, lr=4e-3, muon_lr=0.05),
        0,
    )
    return policy


def updates(policy: Policy, env: EnvConfig, seed: int, out: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Two updates by TRL on the tools, with its own advantages; the trainer and its log."""
    trl = pytest.importorskip("trl", reason="the extra trl is not installed")
    datasets = pytest.importorskip("datasets", reason="the extra trl is not installed")
    args = trl.GRPOConfig(
        output_dir=str(out), per_device_train_batch_size=8, num_generations=8, max_steps=2,
        learning_rate=1e-3, temperature=1.0, bf16=False, use_cpu=True, gradient_checkpointing=False,
        max_completion_length=700, max_tool_calling_iterations=8, logging_steps=1, seed=seed,
        generation_kwargs={"max_new_tokens": 60},
        save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model=policy.model, processing_class=policy.tokenizer, args=args,
        train_dataset=datasets.Dataset.from_list(tool_rows(env, seed=seed)),
        environment_factory=environment_factory(env),
    )  # fmt: skip
    trainer.train()
    return trainer, [entry for entry in trainer.state.log_history if "reward" in entry]


def learned(drawn: tuple[Any, Sequence[dict[str, Any]]]) -> bool:
    """Whether the first update had something to learn from."""
    return bool(drawn[1][0]["reward_std"] > 0)


@pytest.mark.samples
@pytest.mark.parametrize(
    ("env", "calls", "count"), [(GAMES, game_calls, 300), (QUESTIONS, question_calls, 300)]
)
def test_trl_trains_with_its_own_loop(
    env: EnvConfig, calls: Callable[[str], tuple[str, str, str]], count: int, tmp_path: Path
) -> None:
    """The model calls the tools, the environments pay, and the weights move."""
    policy = taught(env, calls, count)
    state = policy.state()

    def draw(seed: int) -> tuple[Any, list[dict[str, Any]]]:
        policy.load_state(state)
        return updates(policy, env, seed, tmp_path / str(seed))

    trainer, log = draw_until(draw, learned, most=10)
    assert len(log) == 2 and all(entry["tools/call_frequency"] > 0 for entry in log)
    assert any(not torch.equal(state[name], value) for name, value in policy.state().items())
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())
