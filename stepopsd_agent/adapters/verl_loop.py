"""An agent loop of verl that plays any registered text environment; tested with verl 0.9.1.

A configuration file for `actor_rollout_ref.rollout.agent.agent_loop_config_path` names it:

    - name: stepopsd_alfworld
      _target_: stepopsd_agent.adapters.verl_loop.TextAgentLoop
      env: {id: stepopsd/ALFWorld-v0, tier: tiny}
      max_tokens: 32

Rows of `verl_tasks` say which task is played. Ids stay as they were sampled; the environment's turns are
added as ids of their own text, as in this project's own rollout.
"""

import asyncio
import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any
from uuid import uuid4

import gymnasium as gym
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from stepopsd_agent.config import Chat, EnvConfig, config_from_dict
from stepopsd_agent.models import PromptFormat, make_format
from stepopsd_agent.rollout import Attempt, begin
from stepopsd_agent.tasks import env_arguments, get, make_stack
from stepopsd_wrappers import StepTokens, recorder

_IDLE: dict[str, list[gym.Env[str, str]]] = {}
"""Environments that no attempt plays at the moment, by their settings; verl makes a loop for each attempt."""


class _Row:
    """The growing row of one attempt: its prompt, and the response tokens with their mask."""

    def __init__(self, prompt: list[int]) -> None:
        self.prompt, self.ids = prompt, list[int]()
        self.mask, self.logprobs, self.added = list[int](), list[float](), tuple(prompt)
        self.versions = list[int]()  # of the weights, as verl's servers number them
        self.drawing = 0.0  # seconds

    def read(self, ids: list[int]) -> None:
        """Add what the environment wrote."""
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.added = tuple(ids)

    def sample(self, ids: list[int], logprobs: list[float] | None) -> StepTokens:
        """Add what the policy sampled; return the step's tokens, whose action is the whole response."""
        given = [0.0] * len(ids) if logprobs is None else logprobs
        new_row = not self.ids
        self.ids += ids
        self.mask += [1] * len(ids)
        self.logprobs += given
        return StepTokens(self.added, tuple(ids), tuple(given), new_row, (0, len(ids)))


class TextAgentLoop(AgentLoopBase):  # type: ignore[misc]
    """Plays one attempt: prompt, response, the environment's answer, and so on to the end."""

    def __init__(
        self,
        *arguments: Any,
        env: Mapping[str, Any],
        max_tokens: int = 64,
        chat: Chat = "auto",
        system: str | None = None,
        records: bool = False,
        **named: Any,
    ) -> None:
        """Prepare for one attempt; verl makes a loop for each.

        Args:
            arguments: of verl.
            env: settings of the environment, as in the section `env` of a recipe.
            max_tokens: longest response.
            chat: whether prompts go through the tokenizer's chat template.
            system: system message of the chat; None: the environment's own.
            records: hand on the record of the attempt, as `episode` in `extra_fields`.
            named: of verl.

        Raises:
            ValueError: there is no such environment or setting, or its layout is not "transcript".
        """
        super().__init__(*arguments, **named)
        settings = OmegaConf.to_container(env) if OmegaConf.is_config(env) else dict(env)
        self._env: EnvConfig = config_from_dict({"env": settings}).env
        if self._env.layout != "transcript":
            raise ValueError(
                f"env.layout is {self._env.layout!r}, which makes a row of every step; verl's agent loop "
                "returns one row: set it to 'transcript'"
            )
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}; give 1 or more")
        env_arguments(self._env)  # refuses what the environment does not have
        self._max_tokens, self._records = max_tokens, records
        self._key = json.dumps(settings, sort_keys=True, default=str)
        words = get(self._env.id).system if system is None else system
        self._format: PromptFormat = make_format(self.tokenizer, chat, words)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Play the attempt that a row of `verl_tasks` names.

        Args:
            sampling_params: of verl; the number of tokens is this loop's own.
            kwargs: the row; `extra_info` has `task_id` and `seed`.

        Returns:
            The row, with the return of the episode as its reward and, in `extra_fields`, the reward of each
            step (`turn_scores`), whether it was won (`won`) and the task (`task_id`); where the server tells,
            also the first and last version of the weights that drew it (`min_` and `max_global_steps`).

        Raises:
            ValueError: the row names no task, or its opening is longer than `rollout.prompt_length`.
        """
        task = dict(kwargs.get("extra_info") or {})
        if "task_id" not in task or "seed" not in task:
            raise ValueError(
                f"extra_info is {task!r:.80}; this agent loop needs task_id and seed in it: make the data "
                "set with verl_tasks"
            )
        idle = _IDLE.setdefault(self._key, [])
        env = idle.pop() if idle else await self._made(idle)
        try:
            row = await self._play(env, Attempt(str(task["task_id"]), int(task["seed"])), sampling_params)
        except BaseException:
            self._call.add_done_callback(lambda _: _give_back(env, idle))
            raise
        idle.append(env)
        record = recorder(env).last_episode
        assert record is not None  # at least one response was sampled
        fields: dict[str, Any] = {
            "turn_scores": [step.reward for step in record.steps[1:]],
            "tool_rewards": [],
            "won": record.success,
            "task_id": record.task_id,
        }
        if row.versions:  # verl's trainers drop what is too old, and count on both
            fields.update(min_global_steps=min(row.versions), max_global_steps=max(row.versions))
        if self._records:
            fields["episode"] = record.to_json()
        return AgentLoopOutput(
            prompt_ids=row.prompt,
            response_ids=row.ids,
            response_mask=row.mask,
            response_logprobs=row.logprobs if sampling_params.get("logprobs") else None,
            reward_score=record.episode_return,
            num_turns=2 * record.num_steps,
            metrics=AgentLoopMetrics(generate_sequences=row.drawing),
            extra_fields=fields,
        )

    async def _play(self, env: gym.Env[str, str], attempt: Attempt, sampling: dict[str, Any]) -> _Row:
        """Play until the episode is over or the row has no room for another response."""
        text, _ = await self._aside(begin, env, attempt)
        row, room = _Row(self._format.first_ids(text)), int(self.rollout_config.response_length)
        if len(row.prompt) > self.rollout_config.prompt_length:
            raise ValueError(
                f"the opening of {attempt.task_id!r} has {len(row.prompt)} tokens, and rollout.prompt_length "
                f"is {self.rollout_config.prompt_length}: raise it"
            )
        name, over = uuid4().hex, False
        while not over:
            asked = {**sampling, "stop_token_ids": [self._format.end_id]}
            asked["max_tokens"] = min(self._max_tokens, room - len(row.ids))
            began = perf_counter()
            output = await self.server_manager.generate(
                request_id=name, prompt_ids=row.prompt + row.ids, sampling_params=asked
            )
            row.drawing += perf_counter() - began
            both = (output.extra_fields.get(f"{end}_global_steps") for end in ("min", "max"))
            row.versions += [int(version) for version in both if version is not None]
            ids = list(output.token_ids)
            if not ids:
                raise RuntimeError(f"the server gave no token for {attempt.task_id!r}: was it stopped?")
            recorder(env).annotate(row.sample(ids, output.log_probs))
            response = str(
                self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            )
            shown = text + response
            text, _, terminated, truncated, _ = await self._aside(env.step, response)
            turn = self._format.turn_ids(text[len(shown) :], ids[-1] == self._format.end_id)
            over = bool(terminated or truncated) or len(row.ids) + len(turn) >= room
            if not over:
                row.read(turn)
        recorder(env).close_episode()
        return row

    async def _made(self, idle: list[gym.Env[str, str]]) -> gym.Env[str, str]:
        """A new environment; one whose attempt is cancelled meanwhile is there for the next."""
        try:
            made: gym.Env[str, str] = await self._aside(make_stack, self._env)
        except asyncio.CancelledError:
            self._call.add_done_callback(lambda call: _keep_made(call, idle))
            raise
        return made

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        """Call it in a thread: a search waits for its server, and other attempts go on meanwhile.

        A thread cannot be stopped, so the call ends by itself where the attempt is cancelled.
        """
        self._call: asyncio.Future[Any] = self.loop.run_in_executor(None, function, *arguments)
        return await asyncio.shield(self._call)


def _keep_made(call: "asyncio.Future[Any]", idle: list[gym.Env[str, str]]) -> None:
    """Nobody waits for the environment that this call has made, nor for its error."""
    if call.exception() is None:
        idle.append(call.result())


def _give_back(env: gym.Env[str, str], idle: list[gym.Env[str, str]]) -> None:
    """Another attempt may have the environment, in which nothing works any more."""
    recorder(env).drop_episode()
    idle.append(env)
