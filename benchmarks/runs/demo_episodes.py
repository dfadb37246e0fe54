"""A small version of the demonstration for other benchmarks: a briefly cloned model, and its episodes."""

from dataclasses import replace

import numpy as np
import yaml

from benchmarks.runs.demo import CONFIG
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.learner import clone, examples
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import SamplingParams, demonstrate, groups, pieces, rollout
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode


def demo_config(steps: int) -> RunConfig:
    """The demonstration's settings, with ``steps`` as the step limit."""
    config = config_from_dict(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    return replace(config, env=config.env.changed(step_limit=steps))


def demo_policy(config: RunConfig, demonstrations: int) -> Policy:
    """A model cloned in one pass over ``demonstrations`` episodes: its commands are valid, it rarely wins."""
    env = make_stack(config.env)
    ids = task_ids(env)
    chosen = [ids[i % len(ids)] for i in range(demonstrations)]
    played = demonstrate(env, chosen, config.warmstart.mistake_rate, config.seed)
    texts = pieces(played) + hindsight_words() * 50
    policy = tiny_policy(texts, config.model, config.device, config.seed)
    rng = np.random.default_rng(config.seed)
    once = replace(config.warmstart, passes=1)
    clone(
        policy,
        [e for d in played for e in examples(d, policy, once, config.hindsight, rng)],
        once,
        config.seed,
    )
    return policy


def demo_episodes(policy: Policy, config: RunConfig, tasks: int) -> list[Episode]:
    """The episodes of one update: ``tasks`` games, each played by a whole group."""
    envs = [make_stack(config.env) for _ in range(config.rollout.slots)]
    drawn = groups(envs[0], count=tasks, size=config.rollout.group_size, seed=config.seed)
    params = SamplingParams(
        temperature=config.rollout.temperature,
        max_tokens=config.rollout.max_tokens,
        max_row_tokens=config.rollout.max_row_tokens,
    )
    return rollout(policy, envs, drawn, params, seed="benchmark")
