"""Scores of an answer: exact match and F1 after the normalisation of SQuAD.

``exact_match`` equals Search-R1's score of the text inside the answer tags, with one exception. As there,
only ASCII punctuation is removed: curly quotation marks and accents count. The exception: of a golden answer
such as "The The" or "!!!" the normalisation leaves nothing, so that in Search-R1 a blank answer, or any
article, is correct. Here such a golden answer is compared with its articles, or else with its punctuation.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """The text in lower case, without punctuation and articles, with single blanks."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, golden_answers: Sequence[str]) -> float:
    """1.0 if the prediction equals a golden answer after normalisation, else 0.0.

    A golden answer of articles or punctuation alone is compared with these, see the module.

    Raises:
        TypeError: ``golden_answers`` is a string instead of a list.
    """
    usual = normalize_answer(prediction)
    return float(any(_equal(prediction, usual, golden) for golden in _checked(golden_answers)))


def f1(prediction: str, golden_answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, the best over the golden answers, from 0 to 1.

    A golden answer of articles or punctuation alone is compared with these, see the module.

    Raises:
        TypeError: ``golden_answers`` is a string instead of a list.
    """
    return max((_overlap(prediction, golden) for golden in _checked(golden_answers)), default=0.0)


def _equal(prediction: str, usual: str, golden: str) -> bool:
    """Whether they are equal; ``usual`` is the prediction normalised, once for all golden answers."""
    if correct := normalize_answer(golden):
        return usual == correct
    normal = _form(golden)
    return normal(prediction) == normal(golden)


def _overlap(prediction: str, golden: str) -> float:
    normal = _form(golden)
    predicted, correct = Counter(normal(prediction).split()), Counter(normal(golden).split())
    if not predicted or not correct:
        return float(predicted == correct)
    # 2PR/(P+R) with P = common/predicted and R = common/correct
    return 2 * (predicted & correct).total() / (predicted.total() + correct.total())


def _form(golden: str) -> Callable[[str], str]:
    """The normalisation; a weaker one for a golden answer of which it leaves nothing."""
    return next((form for form in (normalize_answer, _with_articles) if form(golden)), _with_punctuation)


def _with_articles(text: str) -> str:
    return " ".join(text.lower().translate(_WITHOUT_PUNCTUATION).split())


def _with_punctuation(text: str) -> str:
    return " ".join(text.lower().split())


def _checked(golden_answers: Sequence[str]) -> Sequence[str]:
    if isinstance(golden_answers, str):
        raise TypeError(f"golden_answers={golden_answers!r:.80}: give a list of answers, not one string")
    return golden_answers
