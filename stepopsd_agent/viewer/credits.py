"""Credit for the episodes on view: computed from the records, or read from a file of `credit score`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepopsd_agent.viewer.source import Shown, Source, StepCredit
from stepopsd_envs.plain_file import plain_file

if TYPE_CHECKING:  # torch and transformers take seconds, and only credit that is computed here needs them
    from stepopsd_agent.config import RunConfig
    from stepopsd_agent.models import Policy
    from stepopsd_agent.run import Grouping

CREDIT_SCHEMA = "stepopsd.credit/1"
Identity = tuple[str, int, int, int, str]


def add_credit(
    source: Source, name: str, policy: "Policy | None", config: "RunConfig", by: "Grouping" = "recorded"
) -> None:
    """Add a method's credit to the episodes of a folder that ended without an error.

    Args:
        source: the folder.
        name: a method, one with settings as in "path_gain gamma=0.5", or a file of `stepopsd credit score`.
        policy: the student and, with hindsight in its context, the teacher; None if the method needs no
            model.
        config: of the run, for collating and hindsight.
        by: which attempts form a group.

    Raises:
        MissingColumnError: the method needs a column that neither the records nor the model provide.
        ValueError: there is no such method, or the file has another schema.
    """
    if name.endswith(".jsonl"):
        return _read(source, Path(name))
    from stepopsd_agent.accuracy import Entry, entries
    from stepopsd_agent.credit import MissingColumnError
    from stepopsd_agent.learner import recorded_columns
    from stepopsd_agent.run import IN_TRAINING, score_records

    valid = [shown for shown in source.shown if not shown.episode.failed]
    if not valid:
        return
    entry = entries([name])[0] if " " in name else Entry(name, name)
    method = entry.make()
    if of_a_run := sorted(method.needs & IN_TRAINING):
        raise MissingColumnError(f"{name} needs {', '.join(of_a_run)}, which only a run can compute")
    if policy is None and (of_a_model := sorted(method.needs - recorded_columns())):
        raise MissingColumnError(f"{name} needs {', '.join(of_a_model)} of a model: give --model.path")
    about = {"name": entry.method, **dict(entry.settings)}
    episodes = [shown.episode for shown in valid]
    records = score_records(episodes, config, method, about, policy, by).records
    if by == "task":  # the records have new group numbers, but the order of the episodes
        pairs = zip(valid, records, strict=True)
    else:
        by_episode = {_identity(record): record for record in records}
        pairs = zip(valid, (by_episode[_identity_of(shown)] for shown in valid), strict=True)
    for shown, record in pairs:
        shown.credit[name] = _steps(record)


def _read(source: Source, path: Path) -> None:
    """Add the credit of a file; episodes that are not in it get none."""
    records = [json.loads(line) for line in plain_file(path).read_text(encoding="utf-8").splitlines()]
    if wrong := {str(record.get("schema")) for record in records} - {CREDIT_SCHEMA}:
        raise ValueError(
            f"{path} has schema {', '.join(sorted(wrong))}; give a file of stepopsd credit score"
        )
    by_episode = {_identity(record): record for record in records}
    for shown in source.shown:
        record = by_episode.get(_identity_of(shown))
        if record is not None and len(record["steps"]) == shown.episode.num_steps:
            shown.credit[str(path)] = _steps(record)


def _identity(record: Mapping[str, Any]) -> Identity:
    return record["run"], record["update"], record["group"], record["member"], record["task_id"]


def _identity_of(shown: Shown) -> Identity:
    episode = shown.episode
    return episode.run, episode.update, episode.group, episode.member, episode.task_id


def _steps(record: Mapping[str, Any]) -> list[StepCredit]:
    steps: Sequence[Mapping[str, Any]] = record["steps"]
    return [
        StepCredit(step["credit"], tuple(step["tokens"]), tuple(step["gap"]) if "gap" in step else None)
        for step in steps
    ]


def names_on_the_page(methods: Sequence[str]) -> list[str]:
    """The methods' names on the page; that of a file is its stem without "credit-"."""
    return [Path(name).stem.removeprefix("credit-") if name.endswith(".jsonl") else name for name in methods]
