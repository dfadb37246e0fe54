"""A small version of the demonstration for other benchmarks: a briefly cloned model, and its episodes."""

from dataclasses import replace

import numpy as np
import yaml

from benchmarks.runs.demo import CONFIG
from stepopsd_agent.config.run import RunConfig, config_from_dict
from stepopsd_agent.hindsight.prompt import hindsight_words
from stepopsd_agent.learner.cloning import clone, examples
from stepopsd_agent.models.policy import Policy, tiny_policy
from stepopsd_agent.models.prompt_format import PromptFormat, make_format
from stepopsd_agent.rollout.demonstrations import demonstrate, pieces
from stepopsd_agent.rollout.rollout import Sampling, rollout
from stepopsd_agent.tasks.make import make_stack, task_ids, training_tasks
from stepopsd_wrappers import Episode


def demo_config(steps: int) -> RunConfig:
    """The demonstration's settings, with ``steps`` as the step limit."""
    config = config_from_dict(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    return replace(config, env=replace(config.env, step_limit=steps))


def demo_policy(config: RunConfig, demonstrations: int) -> tuple[Policy, PromptFormat]:
    """A model cloned in one pass over ``demonstrations`` episodes: its commands are valid, it rarely wins."""
    env = make_stack(config.env)
    ids = task_ids(env)
    chosen = [ids[i % len(ids)] for i in range(demonstrations)]
    played = demonstrate(env, chosen, config.warmstart.mistake_rate, config.seed)
    texts = pieces(played) + hindsight_words() * 50
    policy = tiny_policy(texts, config.model, config.device, config.seed)
    form = make_format(policy, "off", "", False)
    rng = np.random.default_rng(config.seed)
    once = replace(config.warmstart, passes=1)
    clone(
        policy,
        [e for d in played for e in examples(d, form, once, config.hindsight, rng)],
        once,
        config.seed,
    )
    return policy, form


def demo_episodes(policy: Policy, form: PromptFormat, config: RunConfig, tasks: int) -> list[Episode]:
    """The episodes of one update: ``tasks`` games, each played by a whole group."""
    envs = [make_stack(config.env) for _ in range(config.rollout.slots)]
    drawn = training_tasks(task_ids(envs[0]), config.seed, 0, tasks, config.rollout.group_size)
    sampling = Sampling(
        "benchmark", config.rollout.temperature, config.rollout.max_tokens, config.rollout.max_row_tokens
    )
    return rollout(policy, form, envs, drawn, sampling)
