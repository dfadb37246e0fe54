"""``stepopsd view``: recorded episodes as an HTML page, or printed."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder, load_run_policy
from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.user_path import user_path

if TYPE_CHECKING:
    from stepopsd_agent.viewer import Source

HELP = "make one HTML page of recorded episodes, or print them: transcripts, credit by step, curves, tables"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """The folders, the credit methods, and the file to write."""
    parser.usage = "stepopsd view RUN|FOLDER [...] (--out FILE | --text) [--method NAME [NAME]]"
    parser.add_argument("folders", type=str, nargs="+", help="run folders, evaluations, folders of episodes")
    parser.add_argument("--out", type=str, default=None, metavar="FILE", help="HTML file to write")
    parser.add_argument("--text", action="store_true", help="print to the terminal instead")
    parser.add_argument(
        "--episode", type=int, default=None, metavar="N", help="with --text: print episode N (from 0)"
    )
    parser.add_argument(
        "--method",
        type=str,
        nargs="+",
        default=[],
        metavar="NAME",
        help="one or two credit methods to show side by side: a name, 'name field=value', module:name, or a "
        "file that stepopsd credit score wrote",
    )
    parser.add_argument(
        "--group_by",
        choices=["recorded", "task"],
        default="recorded",
        help="compare attempts that were played as a group, or all attempts at a task (default: recorded)",
    )
    parser.add_argument(
        "--model.path", type=str, default=None, help="model for methods that need teacher log-probabilities"
    )
    parser.add_argument(
        "--limit", type=int, default=2000, help="most episodes to show per folder (default: 2000)"
    )


def run(settings: Namespace) -> int:
    """Write the page, or print."""
    from stepopsd_agent.run.files import check_can_make, write_bytes_atomic
    from stepopsd_agent.viewer import is_page, list_text, page, page_data, read_source, source_labels

    _check(settings)
    out = None if settings.text else user_path(settings.out)
    if out is not None and out.exists() and not (out.is_file() and is_page(out)):
        raise UsageError(f"{out} is there already and no page of stepopsd view; name another file with --out")
    if out is not None:
        check_can_make(out)
    named: dict[Path, Path] = {}
    for name in settings.folders:  # each is shown once, in whatever spellings it is given
        named.setdefault(episode_folder(name).resolve(), user_path(name))
    folders = [*named.values()]
    with settings_checked():
        sources = [read_source(*pair) for pair in zip(folders, source_labels(folders), strict=True)]
    methods = [str(user_path(name)) if name.endswith(".jsonl") else name for name in settings.method]
    model = None if settings.model.path is None else user_path(settings.model.path)
    if methods:
        _score(sources, methods, model, settings.group_by)
    if out is None:
        single = settings.episode is not None
        print(_one(settings, sources, methods) if single else list_text(sources, settings.limit))
        return 0
    data = page_data(sources, methods, settings.limit, model)
    text = page(data).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(out, text)
    total = sum(len(source.shown) for source in sources)
    count = len(data["episodes"])
    left = "" if count == total else f" of {total} (--limit {settings.limit} a folder)"
    print(f"{count} episodes{left}, {len(text) / 1e6:.1f} MB, written to {out}; open it in a browser")
    return 0


def _check(settings: Namespace) -> None:
    if settings.text == (settings.out is not None):
        raise UsageError("view needs either --out FILE, for a page, or --text, to print")
    if len(settings.method) > 2:
        raise UsageError(f"--method got {len(settings.method)} methods; give one or two")
    if settings.limit < 1:
        raise UsageError(f"limit is {settings.limit}; give 1 or more")
    if settings.episode is not None and not settings.text:
        raise UsageError("--episode chooses the transcript to print; add --text")


def _score(sources: "Sequence[Source]", methods: Sequence[str], model: Path | None, by: str) -> None:
    """Compute every method's credit on every folder; print a notice for a folder that lacks what it needs.

    Raises:
        UsageError: a method can be computed on none of the folders.
    """
    from stepopsd_agent.credit import MissingColumnError
    from stepopsd_agent.viewer import add_credit

    problems: dict[tuple[str, str], str] = {}
    for source in sources:
        with settings_checked():
            config = source.config()
        policy = None
        if model is not None:
            config = replace(config, model=replace(config.model, path=str(model)))
            policy = load_run_policy(config)
        for name in methods:
            try:
                with settings_checked():
                    add_credit(source, name, policy, config, "task" if by == "task" else "recorded")
            except UsageError as error:
                if not isinstance(error.__cause__, MissingColumnError):
                    raise
                problems[source.label, name] = str(error)
    for name in methods:
        if not any(name in shown.credit for source in sources for shown in source.shown):
            why = [problem for (_, method), problem in problems.items() if method == name]
            raise UsageError([*why, f"no episode has credit of {name}"][0])  # a problem names the method
    folders: dict[str, list[str]] = {}
    for (label, _), problem in problems.items():
        folders.setdefault(problem, []).append(label)
    for problem, labels in folders.items():
        print(f"stepopsd: notice: left out in {', '.join(labels)}: {problem}", file=sys.stderr)


def _one(settings: Namespace, sources: "Sequence[Source]", methods: Sequence[str]) -> str:
    """Return the transcript of the episode that ``--episode`` names."""
    from stepopsd_agent.viewer import episode_text

    shown = [episode for source in sources for episode in source.shown]
    if not 0 <= settings.episode < len(shown):
        raise UsageError(f"episode is {settings.episode}; give a number below {len(shown)}, counted from 0")
    return episode_text(shown[settings.episode], methods)
