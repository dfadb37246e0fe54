"""OpenEnv's own server and client: what a client sees is what the environment says."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from stepopsd_agent.adapters import openenv_app
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_envs.alfworld.export import export_game
from tests.helpers.alfworld_games import kitchen
from tests.helpers.search_qa import is_held, searched_files

for package in ("openenv", "uvicorn"):
    pytest.importorskip(package, reason="the extra openenv is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

GAMES = EnvConfig(arguments={"tier": "tiny", "step_limit": 6, "num_games": 3})
QUESTIONS = EnvConfig(
    id="stepopsd/SearchQA-v0", arguments={"tier": "tiny", "num_questions": 3, "max_turns": 2}
)


@contextmanager
def served(env: EnvConfig, sessions: int = 4) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    import uvicorn

    config = uvicorn.Config(openenv_app(env, sessions), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def client(address: str) -> Any:
    """OpenEnv's client for any server."""
    from openenv.core import GenericEnvClient

    return GenericEnvClient(base_url=address).sync()


def asked(address: str, **body: str) -> Any:
    """What the server answers to a request, with a body where one is given."""
    data = json.dumps(body).encode() if body else None
    request = Request(address, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def a_command(info: dict[str, Any], draw: random.Random) -> str:
    """One of those allowed."""
    return str(draw.choice(info["admissible_commands"]))


def a_search(info: dict[str, Any], draw: random.Random) -> str:
    """A search, or something that is none."""
    return draw.choice(["<search>the river</search>", "nothing"])


@pytest.mark.parametrize(("env", "act"), [(GAMES, a_command), (QUESTIONS, a_search)])
def test_openenv_clients_see_what_the_environment_says(
    env: EnvConfig, act: Callable[[dict[str, Any], random.Random], str]
) -> None:
    """Two sessions at once, each with a task of its own, step by step beside the environment itself."""
    names = task_ids(make_plain_env(env))
    with served(env) as address, client(address) as one, client(address) as other:
        for place, session in enumerate((one, other, one)):
            task = {"task_id": names[place]} if place else {"split": "train", "index": 0}
            alone, draw = make_plain_env(env), random.Random(place)
            option = alone.get_wrapper_attr("task_option")
            text, info = alone.reset(seed=place, options={option: names[place]})
            result, over, total = session.reset(seed=place, episode_id=f"e{place}", **task), False, 0.0
            while True:
                assert result.observation["text"] == text and result.done == over
                assert result.metadata["task_id"] == names[place]
                assert result.metadata["won"] == info["won"] and result.metadata["step"] == info["step"]
                if over:
                    break
                action = act(info, draw)
                text, reward, terminated, truncated, info = alone.step(action)
                result, over, total = (
                    session.step({"text": action}),
                    terminated or truncated,
                    total + float(reward),
                )
                assert result.reward == reward
                assert (result.metadata["terminated"], result.metadata["truncated"]) == (
                    terminated,
                    truncated,
                )
            state = session.state()
            assert (state["episode_id"], state["task_id"]) == (f"e{place}", names[place])
            assert state["step_count"] == info["step"]["index"] and state["total_reward"] == total


def test_openenv_servers_list_their_tasks_and_refuse_others() -> None:
    """By the task API, and in words."""
    names = task_ids(make_plain_env(GAMES))
    with served(GAMES) as address, client(address) as session:
        name = "alfworld-v0"
        assert asked(f"{address}/{name}/splits")[0]["name"] == "train"
        found = asked(f"{address}/{name}/tasks", split="train")["tasks"]
        assert [task["id"] for task in found] == list(names)
        assert asked(f"{address}/{name}/num_tasks", split="train") == {"num_tasks": 3}
        for wrong, words in (
            ({"index": 3}, "index is 3; the split 'train' has tasks 0 to 2"),
            ({"split": "test", "index": 0}, "split is 'test'; this server has 'train'"),
            ({"index": 0, "task_id": names[0]}, "give one of the two"),
            ({"task_id": "no such game"}, "no such game"),
        ):
            with pytest.raises(Exception, match=words):
                session.reset(**wrong)
        session.reset(task_id=names[1])
        with pytest.raises(Exception, match="VALIDATION_ERROR"):
            session.step({"command": "look"})
    with pytest.raises(ValueError, match="sessions is 0"):
        openenv_app(GAMES, sessions=0)
    with pytest.raises(ValueError, match=r"env\.tears is 1"):
        openenv_app(GAMES.changed(tears=1))


def test_openenv_servers_name_the_official_split_that_they_play(tmp_path: Path) -> None:
    """Games to evaluate on are not called train; the setting `split` is of generated games alone."""
    export_game(kitchen(), tmp_path / "valid_seen" / "kitchen" / "trial" / "game.tw-pddl")
    official = EnvConfig(arguments={"games": "valid_seen", "data_root": str(tmp_path)})
    for env, name in ((official, "valid_seen"), (GAMES.changed(split="test"), "test")):
        with served(env) as address, client(address) as session:
            assert [split["name"] for split in asked(f"{address}/alfworld-v0/splits")] == [name]
            assert session.reset(split=name, index=0).observation["text"].startswith("-= Welcome")


def test_openenv_server_holds_the_retriever_as_long_as_it_runs(tmp_path: Path) -> None:
    """Else each session, and each question about the tasks, would open it anew."""
    file, corpus = searched_files(tmp_path)
    env = QUESTIONS.changed(questions=str(file), corpus=str(corpus), num_questions=None)
    with served(env) as address:
        assert is_held(corpus)
        with client(address) as session:
            session.reset(seed=0)
        assert asked(f"{address}/searchqa-v0/num_tasks", split="train") == {"num_tasks": 3}
        assert is_held(corpus)
    assert not is_held(corpus)


def test_openenv_example_serves_and_plays(capsys: pytest.CaptureFixture[str]) -> None:
    """Its client plays on its server's application."""
    import runpy

    example = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "openenv_server.py"))
    with served(EnvConfig(arguments={"tier": "tiny", "step_limit": 10})) as address:
        example["play"](int(address.rpartition(":")[2]))
    assert capsys.readouterr().out.count("\n> ") == 10
