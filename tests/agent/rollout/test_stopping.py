"""Where a response ends."""

import tarfile
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from stepopsd_agent.models.policy import Policy
from stepopsd_agent.rollout.stopping import Stops
from tests.helpers.models import tiny


def stopped_at(policy: Policy, text: str, *strings: str) -> str:
    """The part of a text up to the token that ends it; all of it where none does."""
    stops, ids = Stops(policy, strings), policy.encode([text])[0]
    end = next((k + 1 for k in range(len(ids)) if stops.after(ids[: k + 1])), len(ids))
    return policy.decode(ids[:end])


@pytest.mark.parametrize("text", ["I <b>go</b> home </b>", "</b>", "x</b></b>", "a </b"])
def test_stops_end_at_the_first_whole_string(text: str) -> None:
    """Neither before nor, but for what the same token shows, after it."""
    shown = stopped_at(tiny(), text, "</b>", "<never>")
    before, found, _ = text.partition("</b>")
    assert shown.startswith(before + found)
    assert not found or shown.count("</b>") == 1


def test_stops_take_end_tokens_without_any_string() -> None:
    """As generation does everywhere."""
    policy = tiny()
    stops, end = Stops(policy), min(policy.stop_ids)
    assert stops.after([5, end]) and not stops.after([end, 5])


def test_stops_refuse_an_empty_string() -> None:
    """It would end everything at once."""
    with pytest.raises(ValueError, match="stop string is empty"):
        Stops(tiny(), ["</a>", ""])


@pytest.mark.parametrize("stop", ["</search>", "</answer>", "\u2192 naïve 🏠"])
def test_stops_work_with_a_real_tokenizer(test_data: Path, tmp_path: Path, stop: str) -> None:
    """Tokens of it join brackets with their neighbours, and split letters into bytes."""
    with tarfile.open(test_data / "tokenizers" / "qwen3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    policy = tiny()
    policy.tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen3")
    for text in (f"<think>héllo</think>\n<search>who</search>{stop}\n\nmore", f"{stop}", f"a{stop}.b"):
        shown = stopped_at(policy, text, stop)
        before, found, _ = text.partition(stop)
        assert found and shown.startswith(before + found)
        assert len(shown) <= len(before + found) + 3
