"""Episodes of verifiers' own machinery: its environment, agent, conversation and trace.

The model is scripted, behind a server. The chat goes to it from a harness in this process, since those of
verifiers install packages.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.config import config_from_dict
from stepopsd_agent.rollout import Attempt, begin
from stepopsd_agent.tasks import get, make_stack, task_ids
from stepopsd_wrappers import Episode, recorder
from tests.helpers.chat_server import chat_server
from tests.helpers.search_qa import is_held, searched_files

pytest.importorskip("verifiers", reason="the extra verifiers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = Path(__file__).parents[3] / "examples"
GAMES = {"id": "stepopsd/ALFWorld-v0", "tier": "tiny", "num_games": 2, "step_limit": 6}
QUESTIONS = {"id": "stepopsd/SearchQA-v0", "tier": "tiny", "num_questions": 2, "max_turns": 2}
HARNESS = """
import httpx
import verifiers.v1 as vf
from verifiers.v1.dialects.chat import message_to_wire

__all__ = ["Straight"]


class Straight(vf.Harness[vf.HarnessConfig]):
    SUPPORTS_RESUME, EXECUTES_CODE, NEEDS_CONTAINER, APPENDS_SYSTEM_PROMPT = True, False, False, True

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data):
        system, prompt = self.resolve_prompt(data)
        chat = [{"role": "system", "content": system}] if system else []
        chat += [message_to_wire(message) for message in prompt]
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(
                f"{endpoint}/chat/completions",
                json={"model": ctx.model, "messages": chat},
                headers={"Authorization": f"Bearer {secret}"},
            )
        return vf.ProgramResult(0 if answer.is_success else 1, "", answer.text)
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example and the harness can be found by their names."""
    (tmp_path / "straight.py").write_text(HARNESS, encoding="utf-8")
    for folder in (EXAMPLES, tmp_path):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("SOME_KEY", "x")


def made_of(env: dict[str, Any]) -> Any:
    """The environment of verifiers, by the name of the example's module."""
    import verifiers.v1 as vf
    from verifiers.v1.utils.loaders import load_environment

    from stepopsd_agent.adapters.verifiers_taskset import TextGameConfig, TextTasksetConfig

    seat = vf.AgentConfig(harness=vf.HarnessConfig(id="straight"), runtime=vf.SubprocessConfig())
    taskset = TextTasksetConfig(id="verifiers_games", env=env, seed=5)
    return load_environment(TextGameConfig(taskset=taskset, player=seat))


def episode_of(env: dict[str, Any], url: str, number: int) -> Any:
    """What verifiers makes of one task, with the model behind this address."""
    import verifiers.v1 as vf

    made = made_of(env)
    task = list(made.taskset)[number]
    client = vf.EvalClientConfig(base_url=url, api_key_var="SOME_KEY")
    context = vf.ModelContext(model="tiny", client=client)

    async def play() -> Any:
        async with made.serving():
            return await made.run_episode(task, context)

    return task, asyncio.run(play())


def played(env: dict[str, Any], number: int, replies: Sequence[str]) -> Episode:
    """The same replies given to the environment itself."""
    stack = make_stack(config_from_dict({"env": env}).env)
    begin(stack, Attempt(task_ids(stack)[number], 5 + number))
    for reply in replies:
        _, _, terminated, truncated, _ = stack.step(reply)
        if terminated or truncated:
            break
    recorder(stack).close_episode()
    record = recorder(stack).last_episode
    assert record is not None
    return record


def completion(text: str) -> bytes:
    """A whole answer of a server, as OpenAI's clients read it."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]}
    return json.dumps({**body, "usage": usage}).encode()


def answer_of(env: dict[str, Any], number: int) -> str:
    """A right answer."""
    stack = make_stack(config_from_dict({"env": env}).env)
    return str(stack.get_wrapper_attr("golden_answers")(task_ids(stack)[number])[0])


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("env", [GAMES, QUESTIONS])
def test_verifiers_plays_what_the_environment_says(env: dict[str, Any]) -> None:
    """Messages, reward and metrics of the trace are those of the environment under the same replies."""
    if env is GAMES:
        replies = ["look", "inventory", "no such thing", "look", "look", "look"]
    else:
        replies = ["<search>the river</search>", f"<answer>{answer_of(env, 1)}</answer>"]
    record = played(env, 1, replies)
    with chat_server(lambda body, number: completion(replies[number])) as server:
        task, episode = episode_of(env, server.url, 1)
    assert episode.ok, [*episode.errors, *[trace.errors for trace in episode.traces]]
    (trace,) = episode.traces
    (system, *chat) = server.requests[-1]["messages"]
    assert system == {"role": "system", "content": get(env["id"]).system}
    said = [message["content"] for message in chat if message["role"] == "user"]
    assert said == [step.observation.strip() for step in record.steps[:-1]]
    assert [m["content"] for m in chat if m["role"] == "assistant"] == replies[: len(said) - 1]
    assert len(server.requests) == record.num_steps == trace.metrics["steps"]
    assert trace.reward == record.episode_return and trace.metrics["won"] == record.success
    assert trace.info["step_rewards"] == [step.reward for step in record.steps[1:]]
    assert record.success == (env is QUESTIONS)
    assert task.key == episode.task.key == f"{env['id']}#{record.task_id}"


@pytest.mark.usefixtures("plugins")
def test_verifiers_holds_the_retriever_as_long_as_it_serves(tmp_path: Path) -> None:
    """Else each episode would open it anew; a list of the tasks holds nothing."""
    file, corpus = searched_files(tmp_path)
    made = made_of({"id": QUESTIONS["id"], "questions": str(file), "corpus": str(corpus)})
    assert len(list(made.taskset)) == 3 and not is_held(corpus)

    async def serve() -> bool:
        async with made.serving():
            return is_held(corpus)

    assert asyncio.run(serve()) and not is_held(corpus)


@pytest.mark.usefixtures("plugins")
def test_verifiers_keeps_the_errors_of_an_episode() -> None:
    """A model that cannot be reached is an error of the trace, without a reward; so is a wrong setting."""
    with chat_server(lambda body, number: (500, "down")) as server:
        _, episode = episode_of(GAMES, server.url, 0)
    assert not episode.ok and episode.traces[0].metrics["steps"] == 0
    with pytest.raises(ValueError, match=r"env.tears is 1"):
        episode_of({**GAMES, "tears": 1}, "http://127.0.0.1:9", 0)
    with pytest.raises(ValueError, match=r"env.layout is 'window'"):
        episode_of({**GAMES, "layout": "window"}, "http://127.0.0.1:9", 0)
