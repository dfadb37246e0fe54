"""A game server for OpenEnv, and a client that plays one game on it by chance.

pip install -e '.[openenv]'
python examples/openenv_server.py --port 8000            # serves
python examples/openenv_server.py --port 8000 --play     # in another shell: plays
"""

import argparse
import random

from stepopsd_agent.adapters import openenv_app
from stepopsd_agent.config import EnvConfig


def serve(env: EnvConfig, port: int) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    uvicorn.run(openenv_app(env), host="127.0.0.1", port=port)


def play(port: int) -> None:
    """Play one game with OpenEnv's own client."""
    from openenv.core import GenericEnvClient

    with GenericEnvClient(base_url=f"http://127.0.0.1:{port}").sync() as client:
        result = client.reset(seed=0)
        print(result.observation["text"])
        while not result.done:
            command = random.choice(result.metadata["admissible_commands"])
            result = client.step({"text": command})
            print(f"> {command}\n{result.observation['text']}")


def main() -> None:
    """Serve or play."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--play", action="store_true", help="play on a server that runs")
    given = parser.parse_args()
    if given.play:
        play(given.port)
    else:
        serve(EnvConfig(arguments={"tier": "tiny", "step_limit": 10}), given.port)


if __name__ == "__main__":
    main()
