"""How long prompts, answers and responses will be: tried out with an expert, or read off an update."""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import gymnasium as gym
from transformers import AutoTokenizer

from stepopsd_agent.config import EnvConfig, RunConfig
from stepopsd_agent.hindsight import CLOSE, NEXT, OPEN, PEER_CLOSE, PEER_OPEN, gold_text, outcome_text
from stepopsd_agent.rollout import Demonstration, demonstrate
from stepopsd_agent.run.planning.playing import Lengths
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_envs.manifest import GamesNotFoundError
from stepopsd_envs.search_qa.questions import EmptyQuestionsError, QuestionsNotFoundError
from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever, Patience
from stepopsd_wrappers import Episode

LETTERS = 4
"""Letters of a token, where the tokenizer is not at hand."""
_TRIED = 4
_QUICK_S = 1.0
Count = Callable[[str], float]


def expected_lengths(
    config: RunConfig, steps: float | None = None, response: float | None = None
) -> tuple[Lengths, list[str]]:
    """Expected lengths of an update, and the assumptions behind them in words.

    Prompts and answers are those of an expert that plays a few training games. Episodes are taken to be as
    long as they may be, and responses too, unless ``steps`` and ``response`` (tokens) say otherwise.

    Raises:
        ValueError: the environment refuses its settings, or data that are there are empty or broken.
    """
    count, basis = _token_counter(config)
    played, limit, where = _played(config.env, config.seed)
    first = [count(d.turns[0].prompt) for d in played]
    further = [count(text) for d in played for text in _further(d, config.env.layout)]
    lengths = Lengths(
        first=sum(first) / len(first),
        further=sum(further) / max(1, len(further)),
        response=response or config.rollout.max_tokens,
        steps=steps or limit,
        block=_longest_block(config, count, further),
    )
    lengths = _within_rows(config, lengths)
    full = lengths.steps < (steps or limit)
    ended = "when a row is full" if full else "as told" if steps else "the limit"
    return lengths, [
        basis,
        where,
        f"{lengths.first:,.0f} tokens in the first prompt, {lengths.further:,.0f} read at each further step",
        f"{lengths.steps:,.3g} steps per episode, {ended}",
        f"{lengths.response:g} tokens per response, {'as basis' if response else 'the limit'}",
    ]


def _within_rows(config: RunConfig, lengths: Lengths) -> Lengths:
    """Fewer steps where a row of the transcript layout would be full before."""
    if config.env.layout == "window" or lengths.row <= config.rollout.max_row_tokens:
        return lengths
    left = config.rollout.max_row_tokens - lengths.first + lengths.further
    return replace(lengths, steps=max(1.0, left / (lengths.further + lengths.response)))


def _further(demonstration: Demonstration, layout: str) -> list[str]:
    """The text read at each step but the first."""
    texts = []
    for before, turn in zip(demonstration.turns, demonstration.turns[1:], strict=False):
        shown = before.prompt + before.command
        texts.append(turn.prompt if layout == "window" else turn.prompt.removeprefix(shown))
    return texts


def _longest_block(config: RunConfig, count: Count, further: Sequence[float]) -> float:
    """Tokens of the longest hindsight block of the mode; `further` texts are what the environment answers."""
    mode = config.hindsight.mode
    if mode == "none":
        return 0.0
    if mode == "next_observation":
        return count(OPEN + NEXT + CLOSE) + min(max(further, default=0.0), config.hindsight.max_peer_tokens)
    if mode == "gold":
        return count(OPEN + gold_text(["a name of some words"]) + CLOSE)
    outcome = outcome_text(False) if "correctness" in mode else ""
    peer = config.hindsight.max_peer_tokens + count(PEER_OPEN + PEER_CLOSE) if "peer" in mode else 0
    return count(OPEN + outcome + CLOSE) + peer


def _token_counter(config: RunConfig) -> tuple[Count, str]:
    """Counts the tokens of a text; the second value says how."""
    if config.model.path != "tiny":
        try:
            # Planning downloads nothing.
            tokenizer = AutoTokenizer.from_pretrained(config.model.path, local_files_only=True)

            def count(text: str) -> float:
                return float(len(tokenizer.encode(text, add_special_tokens=False)))

            if count("look"):  # without its files transformers may make one of no words
                return count, "its tokenizer"
        except (OSError, ValueError, KeyError, ImportError):
            pass  # told below
    return lambda text: len(text) / LETTERS, f"{LETTERS} letters per token, as its tokenizer is not at hand"


def _played(config: EnvConfig, seed: int) -> tuple[list[Demonstration], int, str]:
    """A few tasks played by the expert, and the most steps of an episode.

    Where the data or the retriever are missing, generated tasks take their place: planning needs neither.
    Data that are there and cannot be used are an error, as they are when the run begins.
    """
    try:
        _require_server(str(config.arguments.get("retriever", "")))
        env, where = make_stack(config), "texts of training tasks"
    except EmptyQuestionsError:
        raise
    except (GamesNotFoundError, QuestionsNotFoundError, RetrieverError, gym.error.Error) as error:
        reason = re.split(r"[.;] ", str(error))[0]
        env = make_stack(_generated(config))
        where = f"texts of generated tasks, as the real ones are not at hand ({reason})"
    with closing(env) as opened:
        ids = task_ids(opened)
        chosen = [ids[k * len(ids) // _TRIED] for k in range(min(_TRIED, len(ids)))]
        limit = int(opened.get_wrapper_attr("step_limit"))
        return demonstrate(opened, chosen, 0.1, seed, peers=False), limit, where


def _generated(config: EnvConfig) -> EnvConfig:
    """The same environment on all its generated tasks: arguments that name data have their defaults."""
    data = {"games", "questions", "retriever", "corpus", "task_types", "num_games", "num_questions"}
    kept = {name: value for name, value in config.arguments.items() if name not in data}
    return replace(config, arguments={**kept, "tier": "full"})


def _require_server(retriever: str) -> None:
    """Raise `RetrieverError` at once where a retriever behind HTTP does not answer: a plan need not wait."""
    if retriever.startswith(("http://", "https://")):
        with closing(HttpRetriever(retriever, patience=Patience(_QUICK_S, _QUICK_S))) as server:
            _ = server.fingerprint


def played_lengths(episodes: Sequence[Episode], block: float) -> Lengths:
    """The lengths that an update's episodes had."""
    turns = [[s.tokens for s in e.steps[1:] if s.tokens is not None] for e in episodes]
    counted = [steps for steps in turns if steps]
    further = [len(step.prompt_ids) for steps in counted for step in steps[1:]]
    responses = [len(step.sampled_ids) for steps in counted for step in steps]
    return Lengths(
        first=sum(len(steps[0].prompt_ids) for steps in counted) / max(1, len(counted)),
        further=sum(further) / max(1, len(further)),
        response=sum(responses) / max(1, len(responses)),
        steps=len(responses) / max(1, len(counted)),
        block=block,
    )
