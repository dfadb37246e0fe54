"""Recorded episodes as rows that other projects read: chats for TRL's SFT, prompts for verl."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stepopsd_wrappers.episode import Episode
from stepopsd_wrappers.plain_json import as_unicode


def messages_of(episode: Episode, system: str = "") -> list[dict[str, str]]:
    """The episode as a chat: observations are the user's, responses the assistant's.

    The last observation is left out, as no response follows it. An episode without a step is its opening.
    Half surrogate pairs become U+FFFD: one of them would make the whole file unreadable.

    Args:
        episode: one that did not fail.
        system: message to begin with; empty: none.
    """
    chat = [{"role": "system", "content": system}] if system else []
    chat.append({"role": "user", "content": episode.steps[0].observation})
    for step in episode.steps[1:]:
        chat.append({"role": "assistant", "content": step.response})
        chat.append({"role": "user", "content": step.observation})
    chat = chat[:-1] if episode.num_steps else chat
    return [{**message, "content": as_unicode(message["content"])} for message in chat]


def sft_rows(episodes: Iterable[Episode], system: str = "") -> Iterator[dict[str, Any]]:
    """Rows of a conversational data set as TRL's ``SFTTrainer`` reads it: ``messages``, and what was played.

    Episodes without a step have no response to train on, and are left out.
    """
    for episode in episodes:
        if episode.num_steps:
            yield {
                "messages": messages_of(episode, system),
                "task_id": episode.task_id,
                "task_type": episode.task_type,
                "success": episode.success,
                "episode_return": episode.episode_return,
            }


def verl_rows(episodes: Iterable[Episode], system: str = "") -> Iterator[dict[str, Any]]:
    """Rows in the columns of verl's data sets, one per episode.

    ``prompt`` is the opening, ``reward_model`` names the task (only the environment can judge success, not a
    rule on text), ``extra_info`` says how to start the task again. ``messages`` is the whole chat, which
    verl's multi-turn SFT reads.
    """
    for index, episode in enumerate(episodes):
        chat = messages_of(episode, system)
        yield {
            "data_source": str(episode.env_spec["id"]),
            "prompt": chat[: 2 if system else 1],
            "ability": episode.task_type,
            "reward_model": {"style": "rule", "ground_truth": episode.task_id},
            "extra_info": {
                "index": index,
                "task_id": episode.task_id,
                "seed": episode.seed,
                "env_spec": json.dumps(episode.env_spec, sort_keys=True),
                "fingerprint": episode.fingerprint,
                "success": episode.success,
                "episode_return": episode.episode_return,
            },
            "messages": chat,
        }


def write_jsonl(rows: Iterable[dict[str, Any]], path: Path) -> int:
    """Write a row per line; return their number."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007  # of the last row, after the loop
            file.write(json.dumps(row, allow_nan=False) + "\n")
    return count
