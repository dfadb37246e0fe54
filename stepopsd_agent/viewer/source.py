"""The folders on view, with their episodes, metrics and tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from stepopsd_agent.accuracy import progress
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.run.files import read_rows
from stepopsd_wrappers import Episode, read_episodes


@dataclass(frozen=True)
class StepCredit:
    """Credit of one step from one method.

    Attributes:
        credit: mean over the step's tokens.
        tokens: credit of each sampled token.
        gap: log p_teacher - log p_student of each sampled token, in nats; None where it was not computed.
    """

    credit: float
    tokens: tuple[float, ...]
    gap: tuple[float, ...] | None = None


@dataclass
class Shown:
    """An episode with its credit.

    Attributes:
        episode: the record.
        credit: of every step after the reset, by method; without the methods that have none for it.
    """

    episode: Episode
    credit: dict[str, list[StepCredit]] = field(default_factory=dict)

    @cached_property
    def progress(self) -> list[float] | None:
        """Progress of each step, see `accuracy.progress`; None if the record does not contain it."""
        return None if self.episode.failed else progress(self.episode)

    @property
    def outcome(self) -> str:
        """One word: won, lost, left (closed before its end) or error."""
        if self.episode.failed:
            return "error"
        if self.episode.success:
            return "won"
        return "left" if self.episode.closed_early else "lost"


@dataclass
class Source:
    """A folder of episodes: a run, an evaluation, or the episodes alone.

    Attributes:
        path: the folder.
        label: its name on the page.
        shown: its episodes in their order.
        rows: of metrics.jsonl; empty where there is none.
        tables: success tables that the folder holds, by title.
        settings: of the run or the evaluation; empty if the folder has none.
    """

    path: Path
    label: str
    shown: list[Shown]
    rows: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The credit method that it was trained with; empty if nothing was trained."""
        chosen = self.settings.get("credit")
        return str(chosen.get("method", "")) if isinstance(chosen, Mapping) else ""

    def config(self) -> RunConfig:
        """Its settings as a config, or the defaults.

        Raises:
            ValueError: there is no field for one of the settings.
        """
        return config_from_dict({name: value for name, value in self.settings.items() if name != "credit"})


def read_source(folder: Path, label: str) -> Source:
    """Read the episodes, metrics, tables and settings of a folder.

    Raises:
        OSError: there is no such folder, or it has neither episodes nor metrics.
        ValueError: its settings or tables cannot be read, or it has neither a whole episode nor metrics.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: there is no such folder; give the --out of train, record or eval")
    inner = folder / "episodes"
    episodes = inner if inner.is_dir() else folder
    home = folder.parent if folder.name == "episodes" else folder
    there = folder.is_file() or any(episodes.glob("episodes-*.jsonl*"))
    rows = _rows_of(home / "metrics.jsonl") if (home / "metrics.jsonl").is_file() else []
    if not there and not rows:
        raise FileNotFoundError(
            f"{folder} holds neither episodes nor metrics.jsonl: give the --out of train, record or eval"
        )
    shown = [Shown(episode) for episode in read_episodes(episodes)] if there else []
    if not shown and not rows:
        raise ValueError(f"{folder} holds no whole episode; give the --out of train, record or eval")
    source = Source(folder, label, shown, rows)
    config = home / "config.yaml"
    if config.is_file():
        try:
            values = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{config} is not YAML: {error}") from error
        source.settings = values if isinstance(values, dict) else {}
    for file, read in (("summary.json", _of_run), ("evaluation.json", _of_evaluation)):
        if (home / file).is_file():
            _read_into(source, home / file, read)
    return source


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of metrics.

    Raises:
        ValueError: it holds something else.
    """
    try:
        rows = read_rows(path)
    except ValueError as error:
        raise ValueError(_damaged(path, error)) from error
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(_damaged(path, "a line is no object"))
    return rows


def _read_into(source: Source, path: Path, read: Callable[[Source, Mapping[str, Any]], None]) -> None:
    """Read the tables of a file into the source.

    Raises:
        ValueError: it is none that a run or an evaluation writes.
    """
    try:
        read(source, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, problem: object) -> str:
    return f"{path} is not as it was written ({problem}); restore it from a copy, or move it away"


def _of_run(source: Source, summary: Mapping[str, Any]) -> None:
    by_type = summary.get("by_task_type") or {}
    for name, title in (("start", "held-out tasks before training"), ("final", "held-out tasks at the end")):
        if summary.get(name):
            source.tables[title] = {**summary[name], "by_task_type": by_type.get(name) or {}}


def _of_evaluation(source: Source, content: Mapping[str, Any]) -> None:
    source.settings = source.settings or dict(content.get("config") or {})
    agent = content.get("agent", "model")
    if "n" in content:  # an interrupted one has no figures yet
        source.tables[f"evaluation, {agent} agent"] = dict(content)
    for name, table in (content.get("by_set") or {}).items():
        source.tables[f"evaluation, {agent} agent, {name}"] = dict(table)


def source_labels(folders: Sequence[Path]) -> list[str]:
    """Short distinct names of the folders: as many last parts of each path as needed."""
    parts = [(path.parent if _is_of_a_run(path) else path).parts for path in folders]
    labels = []
    for segments in parts:
        length = 2 if segments[-1].isdigit() else 1
        while length < len(segments) and sum(other[-length:] == segments[-length:] for other in parts) > 1:
            length += 1
        labels.append("/".join(part for part in segments[-length:] if part != "/"))
    return labels


def _is_of_a_run(folder: Path) -> bool:
    """Whether it is the ``episodes`` of a run or evaluation; ``record`` may have had that name."""
    files = ("config.yaml", "evaluation.json", "metrics.jsonl")
    return folder.name == "episodes" and any((folder.parent / file).is_file() for file in files)
