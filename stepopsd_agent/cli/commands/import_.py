"""``stepopsd import``: convert transcripts of other projects to recorded episodes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.output_paths import fresh_folder
from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.user_path import typed, user_path
from stepopsd_wrappers import Episode, EpisodeWriter
from stepopsd_wrappers.search_r1_import import read_search_r1

HELP = "convert another project's transcripts to recorded episodes"
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
        "golden_answers, plain or compressed (.gz, .xz)",
    )
    parser.add_argument("--out", type=str, required=True, metavar="FOLDER", help="folder to write to")


def run(settings: Namespace) -> int:
    """Read the whole file before writing, so that a bad line leaves no incomplete folder."""
    out, path = fresh_folder(settings.out, "import"), user_path(settings.file)
    read = _READERS[settings["from"]]
    with settings_checked():
        count = sum(1 for _ in read(path))
        if not count:
            raise UsageError(f"{path} holds no transcripts; give a file with one JSON object per line")
        groups, won = set(), 0
        with EpisodeWriter(out) as writer:
            for episode in read(path):
                writer.append(episode)
                groups.add(episode.group)
                won += episode.success
    print(
        f"{count} episodes of {len(groups)} prompts, {won} with the right answer, in {out}; look at them "
        f"with: stepopsd view {typed(out)} --out FILE.html"
    )
    return 0
