"""DQN of stable-baselines3 on ALFWorld: texts become vectors, and the network values commands.

    pip install -c constraints.txt -e '.[sb3]'
    python examples/sb3_dqn.py --out runs/dqn
    stepopsd eval --agent sb3:runs/dqn/model.zip --env.tier tiny

It trains on generated training houses and is tested on houses it has not seen. DQN does not support masks and
needs none here: action numbers wrap around the admissible commands, so random exploration never draws an
inadmissible one. The training reward says at every step whether it came nearer to the goal; the test counts
games won. Because that reward is immediate, a low discount factor is enough, and it keeps the differences
between commands large in comparison with the values. ``--record`` keeps every training episode in
``OUT/episodes``.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_wrappers import EpisodeWriter, RecordEpisode
from stepopsd_wrappers.sb3 import (
    AdmissibleActions,
    CachedEncoder,
    CandidateQPolicy,
    DistanceReward,
    EncodeText,
    HashingEncoder,
    HeldOutTasks,
)

ENCODER = CachedEncoder(HashingEncoder(96), limit=100_000)
"""One for all environments, as their texts repeat."""


def make_env(writer: EpisodeWriter | None = None, **settings: Any) -> EncodeText:
    """Tiny games as vectors and numbers; with a writer every episode is recorded."""
    env: Any = gym.make("stepopsd/ALFWorld-v0", tier="tiny", oracle=True, **settings)
    recorded = env if writer is None else RecordEpisode(env, writer=writer)
    return EncodeText(AdmissibleActions(DistanceReward(recorded), max_actions=20), ENCODER)


def make_model(envs: VecEnv, seed: int) -> DQN:
    """The algorithm with its settings."""
    return DQN(
        CandidateQPolicy,
        envs,
        learning_rate=lambda left: 1e-4 + 9e-4 * left,  # from 1e-3 down to 1e-4
        buffer_size=20_000,
        learning_starts=2_000,
        batch_size=64,
        train_freq=1,
        gradient_steps=2,
        gamma=0.6,
        target_update_interval=1_000,
        exploration_fraction=0.15,
        exploration_final_eps=0.1,
        seed=seed,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=60_000, help="of training, in all games together")
    parser.add_argument("--every", type=int, default=15_000, help="steps between tests")
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
