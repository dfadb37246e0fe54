"""The tasks of an environment as rows of verl's data sets."""

from contextlib import closing
from typing import Any

import numpy as np

from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import make_plain_env, task_ids


def verl_tasks(env: EnvConfig, agent_name: str, seed: int = 0) -> list[dict[str, Any]]:
    """One row per task, to be written as Parquet or JSON lines for `data.train_files`.

    Args:
        env: the environment, by its Gymnasium id.
        agent_name: of the agent loop that plays it, as its configuration file has it.
        seed: of the attempts' own seeds; the attempts at one row share theirs, as a group must.

    Returns:
        Rows with `prompt`, a chat that verl asks for and the agent loop does not read, `data_source`,
        `agent_name`, `reward_model` and `extra_info`, in which the task and its seed stand.

    Raises:
        ValueError: there is no such environment, or it has no tasks.
    """
    with closing(make_plain_env(env)) as opened:
        names = task_ids(opened)
    seeds = np.random.default_rng(seed).integers(2**31, size=len(names)).tolist()
    return [
        {
            "data_source": env.id,
            "prompt": [{"role": "user", "content": name}],
            "agent_name": agent_name,
            "reward_model": {"style": "environment", "ground_truth": ""},
            "extra_info": {"index": number, "task_id": name, "seed": one},
        }
        for number, (name, one) in enumerate(zip(names, seeds, strict=True))
    ]
