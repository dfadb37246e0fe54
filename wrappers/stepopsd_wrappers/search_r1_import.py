"""Read transcripts in Search-R1's format as episodes.

A row holds the prompt and one text with the model's responses and the search results, which stand in
``<information>...</information>``. The text is split into the steps that Search-QA would record: text of the
model is a response, and its kind is found by the environment's own parser; search results, with the blanks
around them, are an observation, and so is Search-R1's note on an invalid action.

The records have no tokens, log-probabilities or passage ids, since the file has none, and they cannot be
replayed. Rows with the same prompt are members of one group. ``state`` is the hash of the
observations so far.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.json_lines import fields_of, read_rows
from stepopsd_envs.search_qa.protocol import parse
from stepopsd_envs.search_qa.scoring import exact_match, f1
from stepopsd_envs.step_info import SCHEMA, text_hash
from stepopsd_envs.text_env import PROMPT
from stepopsd_envs.transcript import Transcript
from stepopsd_wrappers.episode import Episode, Step

ENGINE = "search-r1 transcript"
PROMPTS = ("prompt", "input", "question")
RESPONSES = ("response", "output", "completion", "responses")
ANSWERS = ("golden_answers", "gts", "ground_truth", "reward_model", "target")
SCORES = ("score", "reward", "em")
IDS = ("id", "task_id", "index")

_OBSERVATION = re.compile(
    r"\s*<information>.*?</information>\s*|\s*My previous action is invalid\..*?Let me try again\.\s*",
    re.DOTALL,
)
_QUESTION = re.compile(r"Question:\s*(.+?)\s*(?:\n|<\||$)")


def read_search_r1(path: Path) -> Iterator[Episode]:
    """Yield the episodes of a file of JSON lines, which may be compressed (.gz, .xz).

    Raises:
        ValueError: a row lacks what an episode needs; the message names file, line and keys.
    """
    source = _hash_of(path) if path.is_file() else ""
    groups: dict[str, int] = {}
    members: Counter[int] = Counter()
    goals: dict[str, str] = {}  # the question of each id
    for where, row in read_rows(path):
        try:
            prompt = _prompt(row)
            group = groups.setdefault(prompt, len(groups))
            steps = _steps(row, prompt)
            task_id = steps[0].info["task_id"]
            _require_same(row, task_id, goals.setdefault(task_id, goal := steps[0].info["goal"]), goal)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        members[group] += 1
        nothing = {"id": "", "kwargs": {}}
        member = members[group] - 1
        yield Episode("", 0, group, member, task_id, 0, nothing, source, steps, engine_version=ENGINE)


def _require_same(row: Mapping[str, Any], task_id: str, known: str, goal: str) -> None:
    """Raise ValueError if an id stands for two questions: tables would take them for attempts at one task."""
    if goal != known:
        key = next(key for key in IDS if row.get(key) is not None)
        raise ValueError(
            f"the id {task_id!r} is that of another question, {known!r:.60}; give each an id of its own, or "
            f"leave {key!r} out: then the question names it"
        )


def _steps(row: Mapping[str, Any], prompt: str) -> tuple[Step, ...]:
    """Return the reset, and a step for each response of the model."""
    text = _text(_first(row, RESPONSES))
    if text is None:
        raise ValueError(f"the row has no text of the model; {fields_of(row)}; give {_any_of(RESPONSES)}")
    pieces = cut(text.removeprefix(prompt))
    facts, golden, score = _facts(row, prompt), _golden(row), _score(row)
    if golden is None and score is None:
        raise ValueError(
            f"nothing says whether the answer is right; {fields_of(row)}; give the right answers as a list "
            f"in {_any_of(ANSWERS)}, or a number in {_any_of(SCORES)}"
        )
    episode_id = text_hash(f"{facts['task_id']}\n0")
    transcript, seen = Transcript(), [prompt]
    span = transcript.add(prompt)
    info = _info(facts, episode_id, 0, "reset", "", (0, 0), span, seen)
    steps = [Step(prompt, "", "", 0.0, False, False, info)]
    for index, (response, observation) in enumerate(pieces, start=1):
        parsed = parse(response)
        last, answered = index == len(pieces), parsed.kind == "answer"
        if answered and (not last or observation.strip()):
            raise ValueError(f"the text goes on with {observation.strip()[:40]!r} after an answer was given")
        if answered:
            facts |= _judged(parsed.content, golden, score)
        facts["search_count"] += parsed.kind == "search"
        start, _ = transcript.add(f"{PROMPT}{response}\n")
        said = start + len(PROMPT), start + len(PROMPT) + len(response)
        span = transcript.add(observation)
        seen.append(observation)
        reward = 0.0 if not last else score if score is not None else facts["em"]
        info = _info(facts, episode_id, index, parsed.kind, response, said, span, seen)
        steps.append(Step(observation, response, response, reward, answered, last and not answered, info))
    return tuple(steps)


def cut(text: str) -> list[tuple[str, str]]:
    """Split a text into pairs (response, observation that follows it), which together are the text.

    Raises:
        ValueError: the model wrote nothing, or the text begins with an observation.
    """
    pieces: list[tuple[str, str]] = []
    position = 0
    for match in _OBSERVATION.finditer(text):
        pieces.append((text[position : match.start()], match[0]))
        position = match.end()
    if text[position:].strip() or not pieces:
        pieces.append((text[position:], ""))
    if not all(response.strip() for response, _ in pieces):
        raise ValueError("there is an observation, or nothing at all, where the model should have written")
    return pieces


def _info(
    facts: Mapping[str, Any],
    episode_id: str,
    index: int,
    kind: str,
    action: str,
    said: tuple[int, int],
    span: tuple[int, int],
    seen: list[str],
) -> dict[str, Any]:
    """Return the info of a step, with a `StepInfo` like that of the environments."""
    step = {
        "schema": SCHEMA,
        "episode_id": episode_id,
        "index": index,
        "kind": kind,
        "action": action,
        "valid": kind != "invalid",
        "action_start": said[0],
        "action_end": said[1],
        "observation_start": span[0],
        "observation_end": span[1],
        "anchor": text_hash(seen[-1]),
        "state": text_hash(repr(seen)),
        "terminal": kind == "answer",
    }
    return {"step": step, **facts}


def _facts(row: Mapping[str, Any], prompt: str) -> dict[str, Any]:
    """Return the facts of the task before an answer is given."""
    questions = _QUESTION.findall(prompt)
    question = row.get("question") if isinstance(row.get("question"), str) else None
    goal = question or (questions[-1] if questions else prompt)
    name = _first(row, IDS)
    source = row.get("data_source")
    return {
        "won": False,
        "task_type": source if isinstance(source, str) and source else "search_qa",
        "task_id": str(name) if isinstance(name, str | int) and str(name) else text_hash(goal),
        "goal": goal,
        "em": 0.0,
        "f1": 0.0,
        "search_count": 0,
    }


def _judged(answer: str, golden: list[str] | None, score: float | None) -> dict[str, Any]:
    """Judge the answer: by the right answers if they are given, else by the score."""
    if golden is None:
        return {"won": score == 1.0}
    exact = exact_match(answer, golden)
    return {"won": exact == 1.0, "em": exact, "f1": f1(answer, golden)}


def _prompt(row: Mapping[str, Any]) -> str:
    """Return the prompt as one text; the messages of a chat are joined by newlines."""
    text = _text(_first(row, PROMPTS))
    if not text:
        raise ValueError(f"the row has no prompt; {fields_of(row)}; give {_any_of(PROMPTS)}")
    return text


def _text(value: object) -> str | None:
    """Return a text, the joined messages of a chat, or the only text of a list; else None."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        contents = [message.get("content") for message in value]
        return "\n".join(contents) if all(isinstance(content, str) for content in contents) else None
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else None


def _golden(row: Mapping[str, Any]) -> list[str] | None:
    """Return the right answers, also of verl's ``reward_model: {ground_truth: {target: [...]}}``."""
    value = _first(row, ANSWERS)
    while isinstance(value, dict):
        value = _first(value, ("ground_truth", "target"))
    answers = [value] if isinstance(value, str) else value
    if answers is None:
        return None
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise ValueError(f"the right answers are {value!r:.60}; give a text, or a list of texts")
    return answers


def _score(row: Mapping[str, Any]) -> float | None:
    value = _first(row, SCORES)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the score is {value!r:.60}; give a number")
    return float(value)


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _any_of(keys: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, keys[:-1]))} or {keys[-1]!r}"


def _hash_of(path: Path) -> str:
    with plain_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
