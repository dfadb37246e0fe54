"""From records of episodes to the rows of a batch's three tables; `batch.collate` puts them together."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from stepopsd_agent.batch.tables import KINDS, EpisodeRow, StepRow, TokenRow
from stepopsd_wrappers.episode import Episode, Step, StepTokens

Row = TypeVar("Row", StepRow, EpisodeRow)


def _name(episode: Episode) -> str:
    """The episode as errors name it."""
    identity = f"run {episode.run!r}, update {episode.update}, group {episode.group}, member {episode.member}"
    return f"episode ({identity}, task {episode.task_id!r})"


def group_numbers(episodes: Sequence[Episode]) -> list[int]:
    """Group number of every episode; raises where the identities cannot be right."""
    seen: set[tuple[str, int, int, int]] = set()
    groups: dict[tuple[str, int, int], tuple[int, str]] = {}
    numbers = []
    for episode in episodes:
        key = (episode.run, episode.update, episode.group)
        if (*key, episode.member) in seen:
            raise ValueError(
                f"{_name(episode)} is there twice: give the members of a group different numbers"
            )
        seen.add((*key, episode.member))
        number, task = groups.setdefault(key, (len(groups), episode.task_id))
        if task != episode.task_id:
            raise ValueError(f"{_name(episode)} is in a group that plays {task!r}: a group plays one task")
        numbers.append(number)
    return numbers


def sampled_steps(episode: Episode) -> Iterator[tuple[int, StepTokens]]:
    """Index and tokens of the steps that a policy sampled; raises if the episode cannot be trained on."""
    empty = True
    for index, step in enumerate(episode.steps):
        if step.error is not None:
            raise ValueError(
                f"{_name(episode)} failed at step {index} ({step.error}): leave it out of the batch"
            )
        if step.tokens is None:
            continue
        if index == 0:
            raise ValueError(
                f"{_name(episode)}: its reset carries tokens; tokens belong to the step they caused"
            )
        if not step.tokens.sampled_ids:
            raise ValueError(f"{_name(episode)}: step {index} sampled no token; a response has at least one")
        if empty and not step.tokens.new_row:
            raise ValueError(
                f"{_name(episode)}: step {index} is the first with tokens and must have new_row=True"
            )
        empty = False
        yield index, step.tokens
    if empty:
        raise ValueError(
            f"{_name(episode)} has no step with tokens: only a language model's episodes can be collated"
        )


def extend(row: TokenRow, tokens: StepTokens, step: int) -> None:
    """Append the given ids, then the sampled ones as step `step`."""
    prompt, sampled = len(tokens.prompt_ids), len(tokens.sampled_ids)
    row["input_ids"] = [*row["input_ids"], *tokens.prompt_ids, *tokens.sampled_ids]
    row["step_of_token"] = [*row["step_of_token"], *[-1] * prompt, *[step] * sampled]
    row["old_logprobs"] = [*row["old_logprobs"], *[0.0] * prompt, *tokens.logprobs]


def step_row(before: Step, step: Step, tokens: StepTokens, episode: int, index: int) -> StepRow:
    """One row of the steps table; `before` is the step whose observation was acted on."""
    seen: dict[str, Any] = before.info["step"]
    done: dict[str, Any] = step.info["step"]
    row: StepRow = {
        "episode_of_step": episode,
        "index_in_episode": index,
        "reward": step.reward,
        "anchor": _hash_to_int(seen["anchor"]),
        "state": _hash_to_int(seen["state"]),
        "valid": done["valid"],
        "kind": KINDS.index(done["kind"]),
        "action_start": tokens.action_span[0],
        "action_end": tokens.action_span[1],
    }
    if "optimal_distance" in before.info:
        row["optimal_distance"] = before.info["optimal_distance"]
    if "gold_seen" in step.info:
        row["gold_seen"] = step.info["gold_seen"]
    return row


def episode_row(episode: Episode, group: int) -> EpisodeRow:
    """One row of the episodes table."""
    row: EpisodeRow = {
        "group_of_episode": group,
        "episode_return": episode.episode_return,
        "success": episode.success,
    }
    if "optimal_distance" in episode.steps[-1].info:
        row["last_distance"] = episode.steps[-1].info["optimal_distance"]
    if "gold_seen" in episode.steps[0].info:
        row["first_gold_seen"] = episode.steps[0].info["gold_seen"]
    return row


def _hash_to_int(digits: str) -> int:
    """A 64-bit hash of 16 hexadecimal digits as the signed integer that a tensor can hold."""
    return int.from_bytes(bytes.fromhex(digits), "big", signed=True)


def without(rows: list[Row], name: str) -> list[Row]:
    """The rows without a column that some of them do not know: None is not the -1 that stands for that."""
    for row in rows:
        cast("dict[str, Any]", row).pop(name, None)
    return rows
