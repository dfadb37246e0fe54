"""MaskablePPO of sb3-contrib on ALFWorld: texts become vectors, and the policy scores commands.

    pip install -c constraints.txt -e '.[sb3]'
    python examples/sb3_maskable_ppo.py --out runs/maskable_ppo
    stepopsd eval --agent sb3:runs/maskable_ppo/model.zip --env.tier tiny

It trains on generated training houses and is tested on houses it has not seen. The reward in training tells
every step whether it came nearer to the goal; the test counts games won. ``--record`` keeps every training
episode in ``OUT/episodes``.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_wrappers import EpisodeWriter, RecordEpisode
from stepopsd_wrappers.sb3 import (
    AdmissibleActions,
    CachedEncoder,
    DistanceReward,
    EncodeText,
    HashingEncoder,
    HeldOutTasks,
    MaskableCandidatePolicy,
)

ENCODER = CachedEncoder(HashingEncoder(96), limit=100_000)
"""One for all environments, as their texts repeat."""


def make_env(writer: EpisodeWriter | None = None, **settings: Any) -> EncodeText:
    """Tiny games as vectors and numbers; with a writer every episode is recorded."""
    env: Any = gym.make("stepopsd/ALFWorld-v0", tier="tiny", oracle=True, **settings)
    recorded = env if writer is None else RecordEpisode(env, writer=writer)
    return EncodeText(AdmissibleActions(DistanceReward(recorded), max_actions=20), ENCODER)


def make_model(envs: VecEnv, seed: int) -> MaskablePPO:
    """The algorithm with its settings."""
    return MaskablePPO(
        MaskableCandidatePolicy,
        envs,
        learning_rate=1e-3,
        n_steps=128,
        batch_size=256,
        n_epochs=3,
        gamma=0.95,
        gae_lambda=0.9,
        ent_coef=0.01,
        seed=seed,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=500_000, help="of training, in all games together")
    parser.add_argument("--every", type=int, default=100_000, help="steps between tests")
    parser.add_argument("--games", type=int, default=100, help="held-out games in a test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for model.zip and curve.json")
    parser.add_argument("--record", action="store_true", help="keep the training episodes")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the networks are too small for more
    with EpisodeWriter(options.out / "episodes") if options.record else nullcontext() as writer:
        envs = make_vec_env(lambda: make_env(writer), n_envs=8, seed=options.seed)
        tests = HeldOutTasks(make_env(split="test", num_games=options.games), options.out, options.every)
        make_model(envs, options.seed).learn(options.steps, callback=tests)
        envs.close()
