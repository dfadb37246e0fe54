"""A `rollout_func` for TRL's `GRPOTrainer`: episodes played here, and the credit of each of their tokens.

TRL calls it with the prompts of an update, which are task ids here, and trains on the ids that it returns:
the prompt of an episode, then everything after it, with a mask of the tokens that the policy sampled.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from stepopsd_agent.adapters.crediting import Crediting
from stepopsd_agent.config import Chat, EnvConfig
from stepopsd_agent.credit import Credit
from stepopsd_agent.learner import FreshAttempts
from stepopsd_agent.models import Policy, make_format
from stepopsd_agent.rollout import Attempt, Backend, SamplingParams, rollout, whole_groups
from stepopsd_agent.tasks import get, make_stack, task_ids
from stepopsd_wrappers import Episode

Ids = tuple[int, ...]
Row = tuple[Ids, Ids, Ids, tuple[float, ...]]
"""Prompt, completion, mask of the completion's sampled tokens, and their log-probabilities."""
Key = tuple[Ids, Ids, Ids]
"""What a row consists of: prompt, completion, and the mask of its tokens."""


class TRLRollouts:
    """Plays the episodes of TRL's updates; `StepCredit` takes their advantages from here.

    Attributes:
        crediting: the credit method.
        params: how responses are sampled.
        episodes: records of the latest call, in its order.
    """

    def __init__(
        self,
        env: EnvConfig,
        crediting: Crediting,
        params: SamplingParams | None = None,
        *,
        slots: int = 32,
        seed: int = 0,
        chat: Chat = "auto",
        system: str | None = None,
        backend: Backend = rollout,
        mc_rollouts: int = 9,
    ) -> None:
        """Open the environments.

        Args:
            env: the environment, by its Gymnasium id; its layout must be "transcript".
            crediting: the credit method.
            params: of sampling; the temperature must be that of `GRPOConfig`.
            slots: episodes that are played side by side.
            seed: of the attempts and of the sampling noise.
            chat: whether prompts go through the tokenizer's chat template.
            system: system message of the chat; None: the environment's own.
            backend: plays the attempts.
            mc_rollouts: fresh attempts per step, for a credit method that needs Monte-Carlo values.

        Raises:
            ValueError: the layout makes several rows of an episode, or there is no such environment.
        """
        if env.layout != "transcript":
            raise ValueError(
                f"env.layout is {env.layout!r}, which makes a row of every step; TRL trains on one row per "
                "episode: set it to 'transcript'"
            )
        if slots < 1:
            raise ValueError(f"slots is {slots}; give 1 or more")
        self.crediting, self.params = crediting, params or SamplingParams()
        self.episodes: list[Episode] = []
        self._envs = [make_stack(env) for _ in range(slots)]
        self._fresh = FreshAttempts(mc_rollouts, params=self.params, backend=backend)
        self._seed, self._chat, self._backend, self._env_id = seed, chat, backend, env.id
        self._system = get(env.id).system if system is None else system
        self._tasks = dict.fromkeys(task_ids(self._envs[0]))  # in order, and quickly looked up
        self._credit: list[tuple[Key, Tensor]] = []
        self._metrics: dict[str, float] = {}
        self._latest = -1, 0  # optimizer step of the latest call for training, and its number in it

    def rows(self) -> list[dict[str, str]]:
        """The rows of a `train_dataset`: one per task, whose prompt is the task's id."""
        return [{"prompt": name} for name in self._tasks]

    def close(self) -> None:
        """Close the environments, and with them a retriever that they opened; nothing is played any more."""
        for env in self._envs:
            env.close()

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Play an attempt for every prompt; TRL's `rollout_func`.

        Args:
            prompts: task ids, each `num_generations` times in a row: one group.
            trainer: the `GRPOTrainer`; its model plays and scores.

        Returns:
            `prompt_ids`, `completion_ids`, `logprobs` (nats, 0 where the environment wrote), `env_mask` (1
            where the policy sampled) and `episode_return` (None where the environment failed), each a list
            with an entry per prompt.

        Raises:
            ValueError: a prompt is no task, or the prompts do not come in whole groups.
            RuntimeError: no group could be played without an error of the environment.
        """
        training, step = bool(trainer.model.training), int(trainer.state.global_step)
        size = int(trainer.num_generations if training else trainer.num_generations_eval)
        key = self._training_key(step) if training else f"{self._seed}/eval"
        attempts = self._attempts(prompts, size, int(trainer.accelerator.process_index), step)
        with self._lent(trainer) as policy:
            played = self._backend(
                policy, self._envs, attempts, self.params, seed=key, run="trl", update=step
            )
            whole = {id(episode) for episode in whole_groups(played)}
            rows = [_row(episode, policy.prompt_format.end_id, id(episode) in whole) for episode in played]
            if training:
                again = replace(self._fresh, seed=f"{key}/branches")
                self._assign(policy, played, rows, step, again)
        self.episodes = played
        names = ("prompt_ids", "completion_ids", "env_mask", "logprobs")
        columns: dict[str, Any] = {name: [list(row[k]) for row in rows] for k, name in enumerate(names)}
        columns["episode_return"] = [None if e.failed else e.episode_return for e in played]
        return columns

    def _training_key(self, step: int) -> str:
        """The name of a call's sampling noise; several calls may come in one optimizer step."""
        before, number = self._latest
        self._latest = step, number + 1 if step == before else 0
        return f"{self._seed}/{step}" + (f"/{self._latest[1]}" if self._latest[1] else "")

    def reward(
        self, episode_return: list[float | None], log_metric: Any, **columns: Any
    ) -> list[float | None]:
        """The return of every episode; TRL's reward function, which also logs the credit's metrics."""
        for name, value in self._metrics.items():
            log_metric(name, value)
        self._metrics = {}
        return episode_return

    def advantages(self, inputs: dict[str, Any]) -> Tensor:
        """The credit of the rows of the latest call, before TRL shuffles them.

        Args:
            inputs: `prompt_ids` and `completion_ids` with their masks, [B, P] and [B, T], and `tool_mask`
                [B, T], which is the rollouts' `env_mask`, as TRL pads them.

        Returns:
            [B, T] advantages, 0 where the environment wrote and at padding.

        Raises:
            LookupError: these are not the rows of the latest call for training, in its order.
        """
        completion = inputs["completion_ids"]
        found = torch.zeros(completion.shape, dtype=torch.float32, device=completion.device)
        sides = [_unpadded(inputs, f"{side}_ids", f"{side}_mask") for side in ("prompt", "completion")]
        given = list(zip(*sides, _unpadded(inputs, "tool_mask", "completion_mask"), strict=True))
        if len(given) != len(self._credit):
            raise LookupError(f"{len(given)} rows, of {len(self._credit)} that this rollout_func played")
        for place, (row, (own, credit)) in enumerate(zip(given, self._credit, strict=True)):
            if row != own:
                raise LookupError(
                    f"row {place} of {len(row[0])} and {len(row[1])} tokens was not played by this "
                    "rollout_func, or not in this place: train on its rows alone, and leave "
                    "mask_truncated_completions off"
                )
            found[place, : len(credit)] = credit
        return found

    def _attempts(self, prompts: list[str], size: int, process: int, step: int) -> list[Attempt]:
        unknown = [prompt for prompt in prompts if str(prompt) not in self._tasks]  # a chat is none either
        if unknown:
            raise ValueError(
                f"the prompt {unknown[0]!r:.80} is no task of {self._env_id}: make train_dataset of rows()"
            )
        groups = [prompts[k : k + size] for k in range(0, len(prompts), size)]
        if any(len(group) < size or len(set(group)) > 1 for group in groups):
            raise ValueError(
                f"{len(prompts)} prompts do not make whole groups of {size} in this process: let "
                "per_device_train_batch_size * steps_per_generation be a multiple of num_generations"
            )
        attempts = []
        for number, group in enumerate(groups):
            draw = np.random.default_rng([self._seed, step, process, number])
            seed = int(draw.integers(2**31))
            attempts += [Attempt(name, seed, group=number, member=k) for k, name in enumerate(group)]
        return attempts

    @contextmanager
    def _lent(self, trainer: Any) -> Iterator[Policy]:
        """TRL's model as a policy; afterwards it is in the mode it was in."""
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise ValueError(
                "TRL has split the model over processes; the rollout needs it whole in each: train without "
                "FSDP and DeepSpeed, or with a backend that plays elsewhere"
            )
        model = trainer.accelerator.unwrap_model(trainer.model)
        if not isinstance(model, PreTrainedModel):  # an adapter of PEFT around it
            model = model.get_base_model()
        training, attention = model.training, model.config._attn_implementation
        tokenizer = trainer.processing_class
        prompts = make_format(tokenizer, self._chat, self._system)
        try:
            yield Policy(model, tokenizer, str(trainer.accelerator.device), prompts)
        finally:
            model.set_attn_implementation(attention)
            model.train(training)

    def _assign(
        self,
        policy: Policy,
        played: Sequence[Episode],
        rows: Sequence[Row],
        step: int,
        fresh: FreshAttempts,
    ) -> None:
        """Keep the credit of every row, in order; in a group with an error it is zero."""
        whole = whole_groups(played)
        if not whole:
            errors = [episode.steps[-1].error for episode in played if episode.failed]
            raise RuntimeError(f"every group has an attempt that failed, the first with {errors[0]}")
        batch, credit = self.crediting(
            policy,
            whole,
            update=step,
            temperature=self.params.temperature,
            envs=self._envs,
            fresh=fresh,
        )
        if batch.num_rows != len(whole):
            raise ValueError(
                f"{len(whole)} episodes have {batch.num_rows} rows, and TRL trains on one row per episode: "
                "leave stop strings and templates that rewrite earlier turns out"
            )
        given = dict(zip(map(id, whole), credit.advantages.detach().float().cpu(), strict=True))
        self._credit = []
        for episode, (prompt, completion, mask, _) in zip(played, rows, strict=True):
            start, end = len(prompt), len(prompt) + len(completion)
            row = given[id(episode)][start:end] if id(episode) in given else torch.zeros(end - start)
            self._credit.append(((prompt, completion, mask), row))
        self._metrics = _metrics(whole, credit)


def _row(episode: Episode, end_id: int, whole: bool) -> Row:
    """Prompt, completion, mask and log-probabilities; a row of two end tokens where nothing was sampled.

    In a group with an error the mask is of zeros: TRL would else count the tokens, and pull them to the
    reference.
    """
    given = [step.tokens for step in episode.steps if step.tokens is not None]
    if not given:
        return (end_id,), (end_id,), (0,), (0.0,)
    completion = [*given[0].sampled_ids]
    mask, logprobs = [1] * len(completion), [*given[0].logprobs]
    for tokens in given[1:]:
        read, sampled = len(tokens.prompt_ids), len(tokens.sampled_ids)
        completion += [*tokens.prompt_ids, *tokens.sampled_ids]
        mask += [0] * read + [1] * sampled
        logprobs += [*[0.0] * read, *tokens.logprobs]
    if not whole:
        mask = [0] * len(mask)
    return given[0].prompt_ids, tuple(completion), tuple(mask), tuple(logprobs)


def _unpadded(inputs: dict[str, Any], name: str, mask: str) -> list[Ids]:
    """The numbers of each row that a mask selects."""
    pairs = zip(inputs[name], inputs[mask].bool(), strict=True)
    return [tuple(row[kept].tolist()) for row, kept in pairs]


def _metrics(episodes: Sequence[Episode], credit: Credit) -> dict[str, float]:
    """Success of the episodes, and what the method says of its credit."""
    won = sum(episode.success for episode in episodes) / len(episodes)
    return {"success": won, **{f"credit/{name}": float(value) for name, value in credit.metrics.items()}}
