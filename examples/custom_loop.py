"""A training loop of one's own: environments, rollout, credit and update, each called by hand.

It continues the model of a warm start, which takes a few minutes on two cores:

    stepopsd warmstart --config alfworld_quickstart --env.tier tiny --out runs/warm
    python examples/custom_loop.py
"""

import gymnasium as gym

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.learner import Learner, fill
from stepopsd_agent.models import load_policy
from stepopsd_agent.rollout import groups, rollout
from stepopsd_wrappers import make_text_env

envs = [make_text_env(gym.make("stepopsd/ALFWorld-v0", tier="tiny"), format="plain") for _ in range(8)]
policy = load_policy("runs/warm")  # owns its tokenizer and prompt format
method, learner = credit.make("step_opsd"), Learner(policy, lr=1e-6)
for update in range(50):
    episodes = rollout(policy, envs, groups(envs[0], count=4, size=8, seed=update), seed=update)
    batch = fill(collate(episodes), episodes, method.needs, policy)  # audited
    print(learner.update(batch, credit.scaled(method, 1 - update / 50)(batch)))
