"""What a response asks for, and how passages are shown."""

import re
import string

import pytest
from hypothesis import given, strategies as st

from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.protocol import cut, information, notice, opening_text, parse, query_text, shown
from stepopsd_envs.search_qa.retrieval.base import Passage

NAMES = ("search", "answer", "think", "information")
PIECES = [*(f"<{slash}{name}>" for name in NAMES for slash in ("", "/")), "x", " ", "\n"]
RESPONSES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("text", "kind", "content"),
    [
        ("<search>the Wend</search>", "search", "the Wend"),
        ("<think>Hm.</think>\n<answer> Ada\nBrenk </answer>", "answer", "Ada\nBrenk"),
        ("I say: <answer>Ada</answer>, of course.", "answer", "Ada"),
        ("<SEARCH >the Wend</Search >", "search", "the Wend"),
        # The first action decides, what follows is ignored.
        ("<search>a</search><information>b</information><answer>c</answer>", "search", "a"),
        ("<answer>a</answer><answer>b</answer>", "answer", "a"),
        ("<think>a</think><search>b</search><think>c</think><answer>d</answer>", "search", "b"),
        # A thought may speak of actions.
        ("<think>Maybe <answer>a</answer>?</think><search>b</search>", "search", "b"),
        ("Maybe <answer>a</answer>?</think><search>b</search>", "search", "b"),
        ("<think>One <search> more.</think><search>b</search>", "search", "b"),
        # A thought that is not closed, or closed too late, hides nothing.
        ("<think>Hm. <search>a</search>", "search", "a"),
        ("<think>Hm. <search>a</search></think>", "search", "a"),
        ("Hm. <search>a</search></think>", "search", "a"),
        # Tags that are only mentioned.
        ("I could <answer> or <search> now: <search>a</search>", "search", "a"),
        ("I could <answer> but <search>a</search> and then <answer>b</answer>", "search", "a"),
        ("No </search> yet. <answer>a</answer>", "answer", "a"),
        # Other markup is text.
        ("<search>is 1 < 2 in <b>C++</b>?</search>", "search", "is 1 < 2 in <b>C++</b>?"),
    ],
)
def test_parse_accepts(text: str, kind: str, content: str) -> None:
    """One action, and exactly its text."""
    parsed = parse(text)
    assert (parsed.kind, parsed.content, parsed.why) == (kind, content, "")
    tagged = text[slice(*parsed.action_span)]
    assert re.fullmatch(rf"<{kind} ?>\s*{re.escape(content)}\s*</{kind} ?>", tagged, re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither"),
        ("the Wend", "neither"),
        ("<think>a</think>", "neither"),
        ("</search></answer>", "neither"),
        ("<action>look</action>", "neither"),
        ("< search>a</search>", "neither"),
        ("<search>the Wend", "search tag is not closed"),
        ("<answer>Ada</search>", "answer tag is not closed"),
        ("<search></search>", "nothing inside the search tags"),
        ("<answer> \n\u200b\u202e\x00 </answer>", "nothing inside the answer tags"),
        ("<search>a <answer>b</answer></search>", "a tag inside"),
        ("<answer><search>b</search></answer>", "a tag inside"),
        ("<search>a <think>b</search>", "a tag inside"),
        ("<answer>a</information></answer>", "a tag inside"),
        ("<search>a <answer> b</search>", "a tag inside"),
    ],
)
def test_parse_says_what_is_invalid(text: str, why: str) -> None:
    """And why, in words that hold nothing of the response."""
    parsed = parse(text)
    assert (parsed.kind, parsed.content, parsed.action_span) == ("invalid", "", (0, 0))
    assert why in parsed.why
    assert parsed.why in notice(parsed.why)


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think> Hm. </think><search>a</search>", "Hm."),
        ("Hm.</think><search>a</search>", "Hm."),
        ("Hm. <search>a</search> So.", "Hm."),
        ("<think>Hm. <search>a</search></think>", "Hm."),
        ("<search>a</search><think>late</think>", ""),
        ("<think>Hm.</think> nothing", "Hm."),
        ("Hm.", ""),
    ],
)
def test_parse_finds_the_thought(text: str, thought: str) -> None:
    """Between the think tags, else before the action."""
    assert text[slice(*parse(text).thought_span)] == thought


@given(RESPONSES)
def test_parse_spans_are_ordered_and_their_own(text: str) -> None:
    """Whatever the tags: the thought ends before the action begins, and parsing the action gives it again."""
    parsed = parse(text)
    assert (parsed.kind == "invalid") == bool(parsed.why) == (parsed.action_span == (0, 0))
    if parsed.kind == "invalid":
        return
    assert parsed.thought_span[1] <= parsed.action_span[0]
    alone = parse(text[slice(*parsed.action_span)])
    assert (alone.kind, alone.content) == (parsed.kind, parsed.content)
    assert parse(text + "<answer>later</answer>") == parsed or "think" in text


def test_information_numbers_passages_with_titles() -> None:
    """As Search-R1 writes them."""
    passages = [Passage("1", "Wend", "A river."), Passage("2", "Ada Brenk", "An engineer.")]
    expected = (
        '<information>Doc 1(Title: "Wend") A river.\nDoc 2(Title: "Ada Brenk") An engineer.</information>'
    )
    assert information(passages) == information(passages, 1_000) == expected
    assert information([]) == "<information>No passage was found.</information>"


def test_information_is_cut_to_the_character() -> None:
    """Long passages share the room that short ones leave; the tags stay whole."""
    passages = [Passage("1", "A", "x" * 5_000), Passage("2", "B", "short"), Passage("3", "C", "y" * 9_000)]
    text = information(passages, 700)
    assert 697 <= len(text) <= 700
    assert text.startswith('<information>Doc 1(Title: "A") xxx') and text.endswith("y\u2026</information>")
    first, second, third = text.removeprefix("<information>").removesuffix("</information>").split("\n")
    assert second == 'Doc 2(Title: "B") short' and len(first) == len(third)


@given(
    st.lists(st.builds(Passage, st.just("id"), st.text(max_size=300), st.text(max_size=900)), max_size=4),
    st.integers(200, 1_500),
)
def test_information_never_outgrows_its_limit(passages: list[Passage], limit: int) -> None:
    """And is always one pair of tags around a line for each passage."""
    limit = max(limit, protocol.least_chars(len(passages)))
    text = information(passages, limit)
    assert len(text) <= limit
    assert re.fullmatch(r"<information>[^<]+</information>", text)
    assert text.count("\n") == max(len(passages) - 1, 0)
    for number in range(1, len(passages) + 1):
        assert f"Doc {number}(Title: " in text


def test_information_cuts_titles() -> None:
    """So that the text has room."""
    text = information([Passage("1", "T" * 10_000, "the text")], protocol.least_chars(1))
    assert "the text" in text and "T\u2026" in text


def test_shown_is_one_line_without_what_opens_a_tag() -> None:
    """Other signs stay as they are."""
    assert shown("a <b>\n\tc\x0b</b> \uff1cd> \u2028e") == "a \u2039b> c \u2039/b> \u2039d> e"
    assert shown("x\u202e\u200fy\x00\ud800z\u200b") == "xyz"
    kept = string.printable.translate(str.maketrans("<", " ")) + "caf\u00e9 \u0645\u06cc\u200c\u062e 1\u00bd"
    assert shown(kept) == " ".join(kept.split())


def test_query_text_is_bounded_and_visible() -> None:
    """What a retriever gets."""
    assert query_text("  the\n\u202eWend\x00 ") == "the Wend"
    assert len(query_text("word " * 10_000)) == protocol.MAX_QUERY


def test_cut_marks_what_is_missing() -> None:
    """Within the length."""
    assert [cut("abc def", n) for n in (7, 5, 4, 1)] == ["abc def", "abc\u2026", "abc\u2026", "\u2026"]


def test_opening_text_has_rules_passages_and_question() -> None:
    """In this order, so that the question stands next to the answer."""
    text = opening_text("Who?", 4, [Passage("1", "Wend", "A river.")])
    rules, known, question = text.split("\n")
    assert "4 turns" in rules and "one turn" in opening_text("Who?", 1)
    assert known == '<information>Doc 1(Title: "Wend") A river.</information>'
    assert question == "Question: Who?"


@pytest.mark.parametrize("text", [notice("why"), protocol.LAST_TURN, protocol.OVER, protocol.ANSWERED])
def test_notices_hold_no_tag(text: str) -> None:
    """Nothing in them can be taken for an action."""
    assert "<" not in text and ">" not in text
