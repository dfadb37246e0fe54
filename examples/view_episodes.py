"""From play to a page: record two agents, colour their steps by credit, and write one HTML file.

    python examples/view_episodes.py

Open runs/view/page.html in a browser; it needs no network. `stepopsd view FOLDER ... --out FILE` does the
same on the command line.
"""

from stepopsd_agent.cli.main import main

FLAGS = ["--env.tier=tiny", "--env.num_games=4", "--env.oracle=true", "--env.step_limit=15", "--episodes=16"]
for agent in ("random", "expert"):
    if code := main(["record", f"--agent={agent}", *FLAGS, f"--out=runs/view/{agent}"]):
        raise SystemExit(code)
page = ["runs/view/random", "runs/view/expert", "--out=runs/view/page.html"]
credit = ["--method", "grpo", "path_gain", "--group_by=task"]  # beside the distance to the goal, the truth
raise SystemExit(main(["view", *page, *credit]))
