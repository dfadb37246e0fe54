"""verl's own worker plays with the agent loop, and its own function computes advantages with the estimators.

The server is a real model in this process; everything else on the way is verl's.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.adapters import record_advantages, register_estimators, verl_tasks
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Policy, load_policy
from stepopsd_agent.rollout import Attempt, Decoder, SamplingParams, rollout
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode
from tests.helpers.command_line import run
from tests.helpers.runs import draw_until, environment, run_config
from tests.helpers.search_qa_runs import search_flags, search_run_config

pytest.importorskip("verl", reason="the extra verl is not installed")
pytestmark = [pytest.mark.samples, pytest.mark.filterwarnings("ignore")]

GAMES = {"id": "stepopsd/ALFWorld-v0", "tier": "tiny", "step_limit": 8, "num_games": 1}
QUESTIONS = {
    "id": "stepopsd/SearchQA-v0", "tier": "tiny", "task_types": ["1-hop"], "max_turns": 2, "topk": 2,
    "num_questions": 1,
}  # fmt: skip
SIZE, PROMPT, RESPONSE = 4, 256, 640


class Server:
    """Answers as verl's server does: ids in, ids and log-probabilities out."""

    def __init__(self, policy: Policy, seed: int = 0) -> None:
        self.policy, self.rng = policy, np.random.default_rng(seed)
        self.asked: list[dict[str, Any]] = []
        self.versions = dict[str, int]()  # of the weights, one more at each turn of an attempt

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> Any:
        """Sample one response."""
        from verl.workers.rollout.replica import TokenOutput

        self.asked.append(sampling_params)
        most, positions = sampling_params["max_tokens"], self.policy.max_positions
        params = SamplingParams(
            temperature=sampling_params["temperature"], max_tokens=most, max_row_tokens=positions
        )
        decoder = Decoder(self.policy, 1, params)
        (sampled,) = decoder.respond([prompt_ids], self.rng.random((1, most)))
        assert sampled is not None  # a row alone waits for no other
        version = self.versions[request_id] = self.versions.get(request_id, 4) + 1
        told = {f"{end}global_steps": version for end in ("", "min_", "max_")}
        return TokenOutput(token_ids=list(sampled.ids), log_probs=list(sampled.logprobs), extra_fields=told)


def worker(
    model: Path,
    env: dict[str, Any],
    server: Server,
    folder: Path,
    temperature: float = 1.0,
    prompt: int = PROMPT,
    **loop: Any,
) -> Any:
    """The agent loop worker of verl with the settings of its own configuration, and the loop of a file."""
    import verl
    from hydra import compose, initialize_config_dir
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker

    entry = {
        "name": "stepopsd", "_target_": "stepopsd_agent.adapters.verl_loop.TextAgentLoop", "env": env, **loop
    }  # fmt: skip
    (folder / "loops.yaml").write_text(json.dumps([entry]), encoding="utf-8")
    settings = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(config_dir=str(settings), version_base=None):
        config = compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={model}",
                "actor_rollout_ref.rollout.name=vllm",
                f"actor_rollout_ref.rollout.temperature={temperature}",
                f"actor_rollout_ref.rollout.prompt_length={prompt}",
                f"actor_rollout_ref.rollout.response_length={RESPONSE}",
                "actor_rollout_ref.rollout.calculate_log_probs=true",
                f"actor_rollout_ref.rollout.agent.agent_loop_config_path={folder / 'loops.yaml'}",
            ],
        )
    return AgentLoopWorker(config, server)


def data_of(rows: list[dict[str, Any]], size: int = SIZE) -> Any:
    """A group of attempts at every row, as verl has them."""
    from verl import DataProto

    repeated = [row for row in rows for _ in range(size)]
    columns = {
        "raw_prompt": [row["prompt"] for row in repeated],
        "agent_name": [row["agent_name"] for row in repeated],
        "extra_info": [row["extra_info"] for row in repeated],
        "uid": [f"uid-{k // size}" for k in range(len(repeated))],
    }
    arrays = {}
    for name, values in columns.items():
        arrays[name] = np.empty(len(values), dtype=object)
        arrays[name][:] = values
    return DataProto(non_tensor_batch=arrays)


def played(made: Any, rows: list[dict[str, Any]]) -> Any:
    """What the worker makes of a group of attempts at every row."""
    return asyncio.run(made.generate_sequences(data_of(rows)))


def for_verl(policy: Policy, folder: Path) -> Path:
    """A folder of the same model, whose tokenizer has the token that verl asks of models of this kind."""
    policy.tokenizer.add_tokens(["<|im_end|>"], special_tokens=True)
    policy.model.resize_token_embeddings(len(policy.tokenizer))
    policy.save(folder)
    return folder


@pytest.fixture(scope="module")
def player(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that wins its one game now and then."""
    return for_verl(load_policy(taught_model), tmp_path_factory.mktemp("player") / "model")


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers its one question rightly now and then."""
    out = tmp_path_factory.mktemp("searcher")
    flags = ["--env.num_questions=1", "--warmstart.demonstrations=180", "--warmstart.passes=1"]
    assert run("warmstart", *search_flags(), *flags, f"--out={out / 'warm'}") == 0
    return for_verl(load_policy(out / "warm"), out / "model")


def env_config(env: dict[str, Any]) -> EnvConfig:
    """The same as the learner has it."""
    known = run_config().env if env is GAMES else search_run_config().env
    arguments = {name: value for name, value in env.items() if name != "id"}
    return EnvConfig(id=env["id"], response=known.response, arguments=arguments)


@pytest.mark.parametrize(("env", "model", "tokens"), [(GAMES, "player", 12), (QUESTIONS, "searcher", 40)])
def test_verl_plays_the_rows_of_this_project(
    env: dict[str, Any], model: str, tokens: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """At temperature 0 ids, mask, log-probabilities and rewards are those of `rollout`."""
    folder, config = request.getfixturevalue(model), env_config(env)
    server = Server(load_policy(folder))
    rows = verl_tasks(config, "stepopsd")
    data = played(worker(folder, env, server, tmp_path, temperature=0.0, max_tokens=tokens), rows)
    asked = server.asked[0]
    assert asked["max_tokens"] == tokens and asked["stop_token_ids"] == [server.policy.prompt_format.end_id]
    (task,) = [row["extra_info"] for row in rows]
    params = SamplingParams(temperature=0, max_tokens=tokens, max_row_tokens=1024)
    attempts = [Attempt(task["task_id"], task["seed"])]
    (episode,) = rollout(load_policy(folder), [make_stack(config)], attempts, params)
    batch = collate([episode])
    ids, mask = batch.tokens.input_ids[0], batch.action_mask[0]
    start = int(mask.int().argmax())
    width = len(ids) - start
    for k in range(SIZE):
        prompt, answer = data.batch["attention_mask"][k][:PROMPT].bool(), data.batch["responses"][k]
        assert torch.equal(data.batch["prompts"][k][prompt], ids[:start])
        assert torch.equal(answer[:width], ids[start:])
        assert torch.equal(data.batch["response_mask"][k][:width].bool(), mask[start:])
        assert not data.batch["response_mask"][k][width:].any()
        found = data.batch["rollout_log_probs"][k][:width]
        assert torch.allclose(found, batch.tokens.old_logprobs[0][start:], atol=1e-5)
        assert data.batch["rm_scores"][k].sum() == episode.episode_return
        assert data.non_tensor_batch["turn_scores"][k] == [step.reward for step in episode.steps[1:]]
        assert data.non_tensor_batch["won"][k] == episode.success
        assert data.non_tensor_batch["__num_turns__"][k] == 2 * episode.num_steps
        versions = [int(data.non_tensor_batch[f"{end}_global_steps"][k]) for end in ("min", "max")]
        assert versions == [5, 4 + episode.num_steps]  # verl's trainers make numbers of them


def on_response(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """[N, RESPONSE] advantages from each row's first sampled token on."""
    found = torch.zeros(batch.num_rows, RESPONSE)
    for k, mask in enumerate(batch.action_mask):
        rest = advantages[k][int(mask.int().argmax()) :]
        found[k, : len(rest)] = rest
    return found


@pytest.mark.parametrize(("env", "model", "tokens"), [(GAMES, "player", 12), (QUESTIONS, "searcher", 40)])
def test_verl_computes_advantages_with_the_estimators(
    env: dict[str, Any], model: str, tokens: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The `compute_advantage` of verl gives the methods' own credit of the same episodes, token for token."""
    from verl.trainer.config import AlgoConfig
    from verl.trainer.ppo.ray_trainer import compute_advantage

    names = register_estimators()
    assert names == register_estimators()  # twice is as once
    folder, config = request.getfixturevalue(model), env_config(env)

    def draw(seed: int) -> Any:
        server = Server(load_policy(folder), seed)
        made = worker(folder, env, server, tmp_path, max_tokens=tokens, records=True)
        return played(made, verl_tasks(config, "stepopsd") * 2)

    def mixed(drawn: Any) -> bool:
        """Whether attempts at one task ended differently: between tasks there is nothing to compare."""
        scores, uids = drawn.batch["rm_scores"].sum(1).tolist(), drawn.non_tensor_batch["uid"].tolist()
        return len(set(zip(uids, scores, strict=True))) > len(set(uids))

    data = draw_until(draw, mixed, most=20)
    data.batch["token_level_rewards"] = data.batch["rm_scores"]
    uids = data.non_tensor_batch["uid"].tolist()
    records = data.non_tensor_batch["episode"].tolist()
    episodes = [
        replace(Episode.from_json(record), group=k // SIZE, member=k % SIZE)
        for k, record in enumerate(records)
    ]
    batch = collate(episodes)
    seen = set()
    for name in names:
        found = compute_advantage(data, name, config=AlgoConfig(adv_estimator=name)).batch["advantages"]
        whole = credit.make(name.removeprefix("stepopsd_"))(batch).advantages
        assert torch.allclose(found, on_response(batch, whole), atol=1e-6)
        seen.add(bool(found.any()))
    assert seen == {True}
    mask, ids = data.batch["response_mask"], data.batch["responses"]
    for name in ("gigpo", "path_gain"):
        method = credit.make(name)
        whole = method(fill(batch, episodes, method.needs, None)).advantages
        found = record_advantages(records, uids, mask, method, ids)
        assert torch.equal(found, on_response(batch, whole)) and found.any()
    with pytest.raises(ValueError, match="row 0 of verl is not that of its record"):
        record_advantages(records, uids, mask.flip(1), credit.make("gigpo"), ids)


def test_verl_loop_refuses_what_it_cannot_play(player: Path, tmp_path: Path) -> None:
    """Rows without a task, a layout with several rows, an opening that is too long, a setting unknown."""
    server = Server(load_policy(player))
    row = {"prompt": [], "agent_name": "stepopsd", "extra_info": {"index": 0}}
    with pytest.raises(ValueError, match="this agent loop needs task_id and seed"):
        played(worker(player, GAMES, server, tmp_path), [row])
    for wrong, words in (({"layout": "window"}, "env.layout is 'window'"), ({"tears": 1}, "env.tears is 1")):
        with pytest.raises(Exception, match=words):
            played(worker(player, {**GAMES, **wrong}, server, tmp_path), [row])
    with pytest.raises(Exception, match="max_tokens is 0"):
        played(worker(player, GAMES, server, tmp_path, max_tokens=0), [row])
    rows = verl_tasks(env_config(GAMES), "stepopsd")
    with pytest.raises(
        ValueError, match=r"the opening of .* tokens, and rollout.prompt_length is 8: raise it"
    ):
        played(worker(player, GAMES, server, tmp_path, prompt=8), rows)


def test_verl_finds_the_estimators_by_its_own_variable() -> None:
    """In any process, without a line of code: that is how its trainer gets them."""
    code = (
        "from verl.trainer.ppo.core_algos import get_adv_estimator_fn as get; print(get('stepopsd_dr_grpo'))"
    )
    variables = {**environment(), "VERL_USE_EXTERNAL_MODULES": "stepopsd_agent.adapters.verl_plugin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert "estimator.<locals>.estimate" in done.stdout, done.stderr[-500:]
