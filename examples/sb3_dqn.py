"""DQN of stable-baselines3 on ALFWorld; it knows no masks, and needs none.

    pip install "stepopsd[sb3]"
    python examples/sb3_dqn.py --minutes 10 --out runs/dqn
    stepopsd eval --agent sb3:runs/dqn/model.zip --env.tier tiny

Numbers beyond the admissible commands mean them again, so exploring at random explores commands alone. Games,
tests and flags are those of ``sb3_maskable_ppo.py``.
"""

from contextlib import nullcontext

from sb3_maskable_ppo import Tests, flags, make_envs
from stable_baselines3 import DQN

from stepopsd_wrappers import EpisodeWriter
from stepopsd_wrappers.sb3 import CandidateQPolicy

if __name__ == "__main__":
    options = flags()
    with EpisodeWriter(options.out / "episodes") if options.record else nullcontext() as writer:
        model = DQN(
            CandidateQPolicy,
            make_envs(writer=writer),
            learning_rate=1e-3,
            buffer_size=30_000,
            learning_starts=2_000,
            batch_size=64,
            train_freq=1,
            gradient_steps=2,
            gamma=0.95,
            target_update_interval=1_000,
            exploration_fraction=0.25,
            seed=0,
        )
        model.learn(600_000, callback=Tests(options.out, options.minutes, options.games))
        model.get_env().close()
