"""Recorded episodes as a table in Parquet, a row per step, and back.

The table holds everything in the records: fields to filter by in their own columns, the whole ``info`` as
JSON. It needs pyarrow (extra ``export``).
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepopsd_envs.extras import install_command
from stepopsd_wrappers.episode import Episode, Step, StepTokens
from stepopsd_wrappers.plain_json import EpisodeFormatError

if TYPE_CHECKING:
    import pyarrow

EPISODES_AT_ONCE = 64
"""Episodes that are in memory at once; each such part is a row group of the file."""
_OF_EPISODE = ("run", "update", "group", "member", "task_id", "seed", "fingerprint", "engine_version")
_OF_STEP = ("observation", "response", "action", "reward", "terminated", "truncated", "error")
_OF_TOKENS = ("prompt_ids", "sampled_ids", "logprobs", "new_row", "action_span")


def write_parquet(episodes: Iterable[Episode], path: Path) -> int:
    """Write the episodes to one file; return their number.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        EpisodeFormatError: a text holds half of a surrogate pair, which Parquet's UTF-8 cannot.
    """
    pa, parquet = _pyarrow()
    schema, count = _schema(pa), 0
    remaining = iter(episodes)
    with parquet.ParquetWriter(path, schema) as writer:
        while part := list(islice(remaining, EPISODES_AT_ONCE)):
            rows = [row for k, episode in enumerate(part) for row in _rows(episode, count + k)]
            try:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            except UnicodeEncodeError as error:
                raise EpisodeFormatError(
                    f"an episode among numbers {count} to {count + len(part) - 1} holds text that is no "
                    f"UTF-8 ({error.reason}); leave it out, or export with --to sft, which writes U+FFFD"
                ) from error
            count += len(part)
    return count


def read_parquet(path: Path) -> Iterator[Episode]:
    """The episodes that `write_parquet` wrote, equal to those it was given.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number).to_pylist()
            for _, steps in groupby(rows, key=lambda row: row["episode"]):
                yield _episode(list(steps))


def write_rows(rows: Iterable[dict[str, Any]], path: Path) -> int:
    """Write JSON-like rows, with types inferred by pyarrow; return their number.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    table = pa.Table.from_pylist(list(rows))
    parquet.write_table(table, path)
    return int(table.num_rows)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ModuleNotFoundError(
            f"Parquet takes pyarrow, which is not installed: {install_command('export')}", name="pyarrow"
        ) from error
    return pyarrow, pyarrow.parquet


def _schema(pa: Any) -> "pyarrow.Schema":
    """Columns and their types; columns of tokens are null for an agent without tokens."""
    text, number, ids = pa.string(), pa.int64(), pa.list_(pa.int64())
    of_episode = {name: number for name in ("update", "group", "member", "seed")}
    types = {
        "episode": number,
        **{name: of_episode.get(name, text) for name in _OF_EPISODE},
        "env_spec": text,
        "closed_early": pa.bool_(),
        "index": number,
        **dict.fromkeys(_OF_STEP, text),
        "reward": pa.float64(),
        "terminated": pa.bool_(),
        "truncated": pa.bool_(),
        "task_type": text,
        "kind": text,
        "valid": pa.bool_(),
        "won": pa.bool_(),
        "info": text,
        **dict.fromkeys(_OF_TOKENS, ids),
        "logprobs": pa.list_(pa.float64()),
        "new_row": pa.bool_(),
    }
    return pa.schema(list(types.items()))


def _rows(episode: Episode, number: int) -> Iterator[dict[str, Any]]:
    """One row per record of the episode, the reset being the first."""
    common: dict[str, Any] = {name: getattr(episode, name) for name in _OF_EPISODE}
    spec = json.dumps(episode.env_spec, sort_keys=True)
    common |= {"episode": number, "env_spec": spec, "closed_early": episode.closed_early}
    for index, step in enumerate(episode.steps):
        info = step.info.get("step", {})
        yield {
            **common,
            "index": index,
            **{name: getattr(step, name) for name in _OF_STEP},
            **{name: step.info.get(name) for name in ("task_type", "won")},
            **{name: info.get(name) for name in ("kind", "valid")},
            "info": json.dumps(step.info),
            **({} if step.tokens is None else {name: getattr(step.tokens, name) for name in _OF_TOKENS}),
        }


def _episode(rows: list[dict[str, Any]]) -> Episode:
    first = rows[0]
    fields = {name: first[name] for name in (*_OF_EPISODE, "closed_early")}
    return Episode(env_spec=json.loads(first["env_spec"]), steps=tuple(map(_step, rows)), **fields)


def _step(row: dict[str, Any]) -> Step:
    tokens = None
    if row["sampled_ids"] is not None:
        lists = {name: tuple(row[name]) for name in _OF_TOKENS if name != "new_row"}
        tokens = StepTokens(new_row=row["new_row"], **lists)
    fields = {name: row[name] for name in _OF_STEP}
    return Step(info=json.loads(row["info"]), tokens=tokens, **fields)
