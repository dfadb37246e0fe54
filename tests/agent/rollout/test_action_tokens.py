"""The tokens of an action: few prefixes are decoded, with the result of decoding all of them."""

import random
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import action_tokens
from stepopsd_wrappers.parse_response import parse_response
from tests.helpers.models import tiny

POLICY = tiny()
PIECES = [
    "go to ",
    "cabinet 1",
    " ",
    "\n",
    "ö",
    "中文",
    "𠜎",
    "😀",
    "👩‍👩‍👧‍👦",
    "🇫🇷",
    "é",
    "\u0301",
    "\ufffd",
    "…",
    "\ufeff",
    "\U0001d518",
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)


@cache
def byte_fallback() -> Policy:
    """A policy whose tokenizer has a few letters, and bytes for everything else, as Llama 2 has."""
    letters = [*"abcdefghijklmnopqrstuvwxyz<>/_1", "▁"]
    names = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    tokenizer = Tokenizer(
        models.BPE({n: i for i, n in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    settings_: Any = {"tokenizer_object": tokenizer, "eos_token": "</s>", "unk_token": "<unk>"}
    return Policy(tiny().model, PreTrainedTokenizerFast(**settings_))  # type: ignore[no-untyped-call]


def all_prefixes(policy: Policy, ids: Sequence[int], text: str) -> tuple[int, int]:
    """Token range by the definition: every prefix is decoded, its length compared with the action's place."""
    begin, end = parse_response(text, "tags").action_span
    if begin == end:
        return 0, 0
    ends = [len(policy.decode(ids[: i + 1])) for i in range(len(ids))]
    start = next((i for i, reached in enumerate(ends) if reached > begin), len(ids))
    stop = next((i + 1 for i, reached in enumerate(ends) if reached >= end), len(ids))
    while stop < len(ids) and ends[stop] <= end and not text.startswith(policy.decode(ids[:stop])):
        stop += 1  # further bytes of the last character
    return start, max(start, stop)


def sampled(text: str, seed: int) -> list[int]:
    """Ids of the text, some words cut into their bytes as a policy may sample them."""
    chance, ids = random.Random(seed), list[int]()
    for piece in POLICY.encode([text])[0]:
        token = str(POLICY.tokenizer.convert_ids_to_tokens(piece))
        split: Any = [POLICY.tokenizer.convert_tokens_to_ids(letter) for letter in token]
        ids += split if chance.random() < 0.5 and None not in split else [piece]
    return ids


@given(thought=TEXTS, action=TEXTS, after=TEXTS, seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_action_tokens_are_those_found_by_decoding_every_prefix(
    thought: str, action: str, after: str, seed: int
) -> None:
    """Also where characters are cut into bytes, and a response goes on after its action."""
    given_text = f"<think>{thought}</think><action>{action}</action>{after}"
    ids = sampled(given_text, seed)
    text = POLICY.decode(ids)
    assert action_tokens(POLICY, ids, text, "tags") == all_prefixes(POLICY, ids, text)


@given(ids=st.lists(st.integers(0, 399), max_size=40), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_action_tokens_of_garbage_are_those_found_by_decoding_every_prefix(ids: list[int], seed: int) -> None:
    """Random tokens around and inside the tags: stray bytes, special tokens, characters never completed."""
    chance = random.Random(seed)
    opening, closing = POLICY.encode(["<action>", "</action>"])
    first, second = sorted(chance.choices(range(len(ids) + 1), k=2))
    given_ids = [*ids[:first], *opening, *ids[first:second], *closing, *ids[second:]]
    text = POLICY.decode(given_ids)
    assert action_tokens(POLICY, given_ids, text, "tags") == all_prefixes(POLICY, given_ids, text)


@pytest.mark.parametrize("thought", ["", "a", "😀", "😀😀", "中文 a 中", "é\n"])
@pytest.mark.parametrize("command", ["go to 1", "中文1", "😀 x", "😀😀x", "a😀b", "go\n"])
def test_action_tokens_are_right_where_single_bytes_stand_for_characters(thought: str, command: str) -> None:
    """Each byte of an unfinished character is decoded as a character there; no end moves for it."""
    policy = byte_fallback()
    text = f"<think>{thought}</think><action>{command}</action>"
    (ids,) = policy.encode([text])
    assert policy.decode(ids) == text
    begin, end = parse_response(text, "tags").action_span
    start, stop = action_tokens(policy, ids, text, "tags")
    assert policy.decode(ids[:start]) == text[:begin] and policy.decode(ids[start:stop]) == text[begin:end]


def test_action_tokens_take_few_decodings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the logarithm of the length, where every prefix would be 1,200, and a fraction of the time."""
    text = f"<think>{'Öl is in cabinet 1? ' * 60}</think><action>go to cabinet 1</action>"
    ids = [i for letter in text for i in POLICY.encode([letter])[0]]
    began = time.perf_counter()
    expected = all_prefixes(POLICY, ids, POLICY.decode(ids))
    slow = time.perf_counter() - began
    began = time.perf_counter()
    assert action_tokens(POLICY, ids, text, "tags") == expected
    assert time.perf_counter() - began < slow / 5
    decoded = list[int]()
    plain = Policy.decode

    def counted(policy: Policy, some: Sequence[int]) -> str:
        decoded.append(len(some))
        return plain(policy, some)

    monkeypatch.setattr(Policy, "decode", counted)
    action_tokens(POLICY, ids, text, "tags")
    assert len(ids) > 800 and len(decoded) < 40


@pytest.mark.parametrize("action", ["take the café", "look 🙂", "看", "x"])
@pytest.mark.parametrize("end", [[], ["end"]])
def test_action_tokens_holds_all_bytes_of_the_last_character(action: str, end: list[str]) -> None:
    """Each may be a token; what follows the action is none of it."""
    policy = tiny()
    text = f"<think>é</think><search>{action}</search>"
    for said, format in ((text.replace("search>", "action>"), "tags"), (text, "search")):
        ids = [*policy.encode([said])[0], *[policy.prompt_format.end_id for _ in end]]
        start, stop = action_tokens(policy, ids, said, format)  # type: ignore[arg-type]
        wanted = action if format == "tags" else f"<search>{action}</search>"
        assert policy.decode(ids[start:stop]) == wanted
        assert stop - start == len(policy.encode([wanted])[0])
