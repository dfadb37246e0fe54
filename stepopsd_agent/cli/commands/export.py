"""``stepopsd export``: recorded episodes in the formats of other projects."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder
from stepopsd_agent.cli.output_paths import fresh_file
from stepopsd_agent.cli.parser import Parser
from stepopsd_wrappers import Episode, read_episodes
from stepopsd_wrappers.chat_export import sft_rows, verl_rows, write_jsonl
from stepopsd_wrappers.minari_export import write_minari
from stepopsd_wrappers.parquet_export import write_parquet, write_rows

HELP = "write recorded episodes for TRL, verl, Minari, or as a table in Parquet"
USES: frozenset[str] = frozenset()


Writer = Callable[[Iterator[Episode], Path, str], int]
_WRITERS: dict[str, Writer] = {
    "sft": lambda episodes, out, system: write_jsonl(sft_rows(episodes, system), out),
    "parquet": lambda episodes, out, system: write_parquet(episodes, out),
    "verl": lambda episodes, out, system: write_rows(verl_rows(episodes, system), out),
    "minari": lambda episodes, out, system: write_minari(episodes, out),
}


def add_flags(parser: Parser) -> None:
    """The records, the format, and where to write."""
    parser.add_argument("episodes", type=str, help="folder of recorded episodes, or a run folder")
    parser.add_argument(
        "--to",
        choices=[*_WRITERS],
        required=True,
        help="sft: JSON lines of chats as TRL's SFTTrainer reads them; parquet: everything, a row per step; "
        "verl: Parquet with verl's columns; minari: a Minari data set (all but sft: extra export)",
    )
    parser.add_argument(
        "--out", type=str, required=True, metavar="PATH", help="file to write, of minari a folder"
    )
    parser.add_argument("--won", action="store_true", help="only episodes that reached the goal")
    parser.add_argument(
        "--system", type=str, default="", metavar="TEXT", help="of sft and verl: system message to begin with"
    )


def run(settings: Namespace) -> int:
    """Write the episodes."""
    out, kind = fresh_file(settings.out, "--out"), settings.to
    if settings.system and kind not in ("sft", "verl"):
        raise UsageError(f"--system is for --to sft and --to verl; {kind} has no messages")
    folder, seen = episode_folder(settings.episodes), [0]
    episodes = _chosen(read_episodes(folder), seen, won=settings.won, failed=kind == "parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    try:
        with settings_checked():
            count = _WRITERS[kind](episodes, out, settings.system)
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error
    finally:
        if not count and out.exists():  # nothing is left of what was not finished
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    if not count:
        what = "that reached the goal" if settings.won else "that can be exported"
        raise UsageError(f"{folder} holds {seen[0]} episodes, and none {what}")
    print(f"{count} of {seen[0]} episodes written to {out}")
    return 0


def _chosen(episodes: Iterator[Episode], seen: list[int], *, won: bool, failed: bool) -> Iterator[Episode]:
    """The episodes to write; those that ended in an error only where ``failed``. ``seen`` counts all."""
    for episode in episodes:
        seen[0] += 1
        if (episode.success or not won) and (failed or not episode.failed):
            yield episode
