"""``stepopsd import``: transcripts of other projects as recorded episodes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, fresh_folder, settings_checked
from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import Episode, EpisodeWriter
from stepopsd_wrappers.search_r1_import import read_search_r1

HELP = "make recorded episodes of another project's transcripts"
USES: frozenset[str] = frozenset()

_READERS: dict[str, Callable[[Path], Iterator[Episode]]] = {"search-r1": read_search_r1}


def add_flags(parser: Parser) -> None:
    """The transcripts, their format, and where to write."""
    parser.add_argument("file", type=str, help="file of transcripts")
    parser.add_argument(
        "--from",
        choices=[*_READERS],
        required=True,
        help="search-r1: JSON lines with prompt, response (<think>, <search>, <information>, <answer>) and "
        "golden_answers, plain or packed",
    )
    parser.add_argument("--out", type=str, required=True, metavar="FOLDER", help="folder to write to")


def run(settings: Namespace) -> int:
    """Read everything once before anything is written, so that a bad line leaves nothing half made."""
    out, path = fresh_folder(settings.out, "import"), user_path(settings.file)
    read = _READERS[settings["from"]]
    with settings_checked():
        count = sum(1 for _ in read(path))
        if not count:
            raise UsageError(f"{path} holds no transcripts")
        groups, won = set(), 0
        with EpisodeWriter(out) as writer:
            for episode in read(path):
                writer.append(episode)
                groups.add(episode.group)
                won += episode.success
    print(
        f"{count} episodes of {len(groups)} prompts, {won} with the right answer, in {out}; look at them "
        f"with: stepopsd view {out} --out FILE.html"
    )
    return 0
