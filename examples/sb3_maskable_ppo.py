"""MaskablePPO of sb3-contrib on ALFWorld: texts become vectors, and the policy scores commands.

    pip install "stepopsd[sb3]"
    python examples/sb3_maskable_ppo.py --minutes 10 --out runs/maskable_ppo
    stepopsd eval --agent sb3:runs/maskable_ppo/model.zip --env.tier tiny

It trains on generated training houses and is tested on houses it has not seen, once a minute. The reward in
training tells every step whether it came nearer to the goal; the test counts games won. The minutes are of
processor time, without those of the tests. ``--record`` keeps every training episode in ``OUT/episodes``.
"""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_agent.rollout import play_agent, success_table
from stepopsd_agent.tasks.agents import SB3Agent
from stepopsd_wrappers import EpisodeWriter, RecordEpisode
from stepopsd_wrappers.sb3 import (
    AdmissibleActions,
    CachedEncoder,
    EncodeText,
    HashingEncoder,
    MaskableCandidatePolicy,
)

ENCODER = CachedEncoder(HashingEncoder(96), limit=100_000)
"""One for all environments, as their texts repeat."""


def make_envs(count: int = 8, writer: EpisodeWriter | None = None) -> VecEnv:
    """Training games; with a writer every episode is recorded."""

    def make() -> EncodeText:
        game = gym.make("stepopsd/ALFWorld-v0", tier="tiny", reward="optimal_distance")
        recorded = game if writer is None else RecordEpisode(game, writer=writer)
        return EncodeText(AdmissibleActions(recorded, max_actions=20), ENCODER)

    return make_vec_env(make, n_envs=count, seed=0)


class Tests(BaseCallback):  # type: ignore[misc]  # without types
    """Saves the model and plays held-out games with it once a minute, until the time is over."""

    def __init__(self, out: Path, minutes: float, games: int) -> None:
        super().__init__()
        self.out, self.minutes, self.tests, self.spent, self.rows = (
            out,
            minutes,
            0,
            0.0,
            list[dict[str, float]](),
        )
        self.env = RecordEpisode(gym.make("stepopsd/ALFWorld-v0", tier="tiny", split="test", num_games=games))

    def _on_training_start(self) -> None:
        self.spent = time.process_time()

    def _on_step(self) -> bool:
        now = time.process_time()
        minutes = (now - self.spent) / 60
        if minutes >= min(self.tests, self.minutes):
            self.tests += 1
            self.model.save(self.out / "model.zip")
            agent, games = SB3Agent(self.out / "model.zip"), self.env.get_wrapper_attr("task_ids")
            success = success_table(play_agent(agent, self.env, games, seed=0))["success"]
            self.rows.append({"minutes": minutes, "steps": self.num_timesteps, "success": success})
            (self.out / "curve.json").write_text(json.dumps(self.rows, indent=1), encoding="utf-8")
            print(
                f"{minutes:.1f} min, {self.num_timesteps} steps: {success:.1%} of {len(games)} held-out games"
            )
            self.spent += time.process_time() - now
        return minutes < self.minutes


def flags() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="of training")
    parser.add_argument("--games", type=int, default=100, help="held-out games in a test")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.zip and curve.json")
    parser.add_argument("--record", action="store_true", help="keep the training episodes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the networks are too small for more
    return options


if __name__ == "__main__":
    options = flags()
    with EpisodeWriter(options.out / "episodes") if options.record else nullcontext() as writer:
        model = MaskablePPO(
            MaskableCandidatePolicy,
            make_envs(writer=writer),
            learning_rate=1e-3,
            n_steps=128,
            batch_size=256,
            n_epochs=3,
            gamma=0.95,
            gae_lambda=0.9,
            ent_coef=0.01,
            seed=0,
        )
        model.learn(10_000_000, callback=Tests(options.out, options.minutes, options.games))
        model.get_env().close()
