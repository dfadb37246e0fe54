"""Scores of an answer: exact match and F1 after the normalisation of SQuAD.

``exact_match`` equals Search-R1's score of the text inside the answer tags. As there, only ASCII punctuation
is removed: curly quotation marks and accents count.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """The text in lower case, without punctuation and articles, with single blanks."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, golden_answers: Sequence[str]) -> float:
    """1.0 if the prediction equals a golden answer after normalisation, else 0.0.

    Raises:
        TypeError: ``golden_answers`` is a string instead of a list.
    """
    predicted = normalize_answer(prediction)
    return float(any(normalize_answer(golden) == predicted for golden in _checked(golden_answers)))


def f1(prediction: str, golden_answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, the best over the golden answers, from 0 to 1.

    Texts without words after normalisation match only each other.

    Raises:
        TypeError: ``golden_answers`` is a string instead of a list.
    """
    predicted = Counter(normalize_answer(prediction).split())
    return max((_overlap(predicted, golden) for golden in _checked(golden_answers)), default=0.0)


def _overlap(predicted: Counter[str], golden: str) -> float:
    correct = Counter(normalize_answer(golden).split())
    if not predicted or not correct:
        return float(predicted == correct)
    # 2PR/(P+R) with P = common/predicted and R = common/correct
    return 2 * (predicted & correct).total() / (predicted.total() + correct.total())


def _checked(golden_answers: Sequence[str]) -> Sequence[str]:
    if isinstance(golden_answers, str):
        raise TypeError(f"golden_answers={golden_answers!r:.80}: give a list of answers, not one string")
    return golden_answers
