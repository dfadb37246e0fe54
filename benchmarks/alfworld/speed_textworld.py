"""Time the original packages on given games and actions; a program for a Python that has them.

It reads a JSON list of ``{"game": path, "actions": [command, ...]}`` from standard input. Its last line is a
list of ``{"load_s", "reset_s", "steps_s", "observations"}``, in CPU seconds, with one entry per step. It
needs ``alfworld`` and ``textworld[pddl]`` and nothing of this project. TextWorld computes the same values per
step as the native engine: observation, admissible commands, and whether the goal is reached.
"""

import json
import sys
import time
from itertools import pairwise
from typing import Any


def time_play(game: str, actions: list[str]) -> dict[str, Any]:
    """Load, reset and step one game as ALFWorld does."""
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld import EnvInfos
    from textworld.envs import PddlEnv

    env = AlfredDemangler(PddlEnv(EnvInfos(won=True, admissible_commands=True)), shuffle=False)
    started = time.process_time()
    env.load(game)
    loaded = time.process_time()
    observations = [env.reset()["feedback"]]
    times = [time.process_time()]
    for action in actions:
        observations.append(env.step(action)[0]["feedback"])
        times.append(time.process_time())
    return {
        "load_s": loaded - started,
        "reset_s": times[0] - loaded,
        "steps_s": [later - earlier for earlier, later in pairwise(times)],
        "observations": observations,
    }


def main() -> int:
    """Time every game; return 3 if the packages are missing, else 0."""
    plays = json.load(sys.stdin)
    try:
        import alfworld.agents.environment  # noqa: F401
        import fast_downward  # noqa: F401
        import textworld.envs  # noqa: F401
    except ImportError as error:
        print(error)
        return 3
    print(json.dumps([time_play(play["game"], play["actions"]) for play in plays]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
