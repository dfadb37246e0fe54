"""Exact match as Search-R1 counts it, F1 as SQuAD does."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from stepopsd_envs.search_qa.scoring import exact_match, f1, normalize_answer

TEXTS = st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles!", "beatles"),
        ("an a the", ""),
        ("U.S.A.", "usa"),
        ("theatre and the\tanvil\n", "theatre and anvil"),
        ("rock-'n'-roll", "rocknroll"),
        ("Caf\u00e9 \u201cA\u201d", "caf\u00e9 \u201c \u201d"),  # only ASCII punctuation goes
        ("", ""),
    ],
)
def test_normalize_answer_as_squad_does(text: str, normal: str) -> None:
    """Lower case, no punctuation, no articles, single blanks."""
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "golden", "score"),
    [
        ("the  Paris.", ["London", "paris"], 1.0),
        ("Paris, France", ["Paris"], 0.0),
        ("", ["Paris"], 0.0),
        ("the", ["a"], 0.0),  # the normalisation leaves nothing of either: articles count
        ("", ["The The"], 0.0),
        ("?", ["A"], 0.0),
        ("the the.", ["The The"], 1.0),
        ("The", ["The The"], 0.0),
        ("a", ["Vitamin A", "A"], 1.0),
        ("", ["!!!"], 0.0),
        ("the", ["!!!"], 0.0),
        ("!!!", ["!!!"], 1.0),
        ("1,874", ["1874"], 1.0),
        ("Paris", [], 0.0),
    ],
)
def test_exact_match_with_any_golden_answer(prediction: str, golden: list[str], score: float) -> None:
    """One is enough."""
    assert exact_match(prediction, golden) == score


@pytest.mark.parametrize(
    ("prediction", "golden", "score"),
    [
        ("Ada Brenk", ["Ada Brenk"], 1.0),
        ("Ada", ["Ada Brenk"], 2 / 3),  # precision 1, recall 1/2
        ("Ada Maria Brenk", ["Brenk Ada"], 0.8),  # precision 2/3, recall 1
        ("no no yes", ["no yes no"], 1.0),  # words counted, order not
        ("no", ["no no"], 2 / 3),
        ("Ada", ["Zora", "Ada Brenk", "Ada"], 1.0),  # the best of them
        ("Zora", ["Ada"], 0.0),
        ("the", ["an"], 0.0),
        ("", ["The The"], 0.0),
        ("the", ["The The"], 2 / 3),  # precision 1, recall 1/2
        ("", ["!!!"], 0.0),
        ("", ["Ada"], 0.0),
        ("Ada", [], 0.0),
    ],
)
def test_f1_over_words(prediction: str, golden: list[str], score: float) -> None:
    """2PR/(P+R), against the best golden answer."""
    assert f1(prediction, golden) == pytest.approx(score)


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_scores_agree_where_they_must(prediction: str, golden: list[str]) -> None:
    """An exact match has F1 1, and F1 stays between 0 and 1."""
    score = f1(prediction, golden)
    assert 0.0 <= score <= 1.0
    assert exact_match(prediction, golden) <= score
    assert exact_match(prediction, [*golden, prediction]) == 1.0


def test_scores_refuse_a_single_text() -> None:
    """It would be taken for a list of letters."""
    for score in (exact_match, f1):
        with pytest.raises(TypeError, match="give a list"):
            score("a", "a")


def test_exact_match_gives_the_scores_of_search_r1(test_data: Path) -> None:
    """On all recorded pairs."""
    lines = (test_data / "searchqa" / "em-golden.jsonl").read_text("utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    assert len(pairs) == 1_000 and 100 < sum(pair["em"] for pair in pairs) < 900
    differing = [p for p in pairs if exact_match(p["prediction"], p["golden_answers"]) != p["em"]]
    assert not differing
