"""The plain Gymnasium loop, with step boundaries in ``info``, and the episode it leaves as a record.

python examples/gym_loop.py
"""

import gymnasium as gym
import numpy as np

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_wrappers import RecordEpisode

env = RecordEpisode(gym.make("stepopsd/ALFWorld-v0", tier="tiny", step_limit=20), "runs/gym_loop")
rng = np.random.default_rng(0)
for seed in range(3):
    observation, info = env.reset(seed=seed)
    print(f"\n{info['task_id']}\n{observation}")
    done = False
    while not done:
        action = str(rng.choice(info["admissible_commands"]))
        observation, reward, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        step = info["step"]
        accepted = "accepted" if step["valid"] else "refused"
        print(f"step {step['index']:2} ({step['kind']}, {accepted}): {action} -> {observation}")
env.close()
print("\nrecorded in runs/gym_loop; look at it with: stepopsd view runs/gym_loop --text")
