"""How good an answer is: exact match and F1 after the normalisation of SQuAD.

``exact_match`` gives what Search-R1's scoring gives for the text inside the answer tags. Only the punctuation
of ASCII is taken away, as there: a curly quotation mark or an accent counts.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation and articles, single blanks."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, golden_answers: Sequence[str]) -> float:
    """1.0 if the prediction is one of the golden answers after normalisation, else 0.0."""
    said = normalize_answer(prediction)
    return float(any(normalize_answer(golden) == said for golden in _checked(golden_answers)))


def f1(prediction: str, golden_answers: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall over words, from 0 to 1.

    Texts without a word after normalisation match each other and nothing else.
    """
    said = Counter(normalize_answer(prediction).split())
    return max((_overlap(said, golden) for golden in _checked(golden_answers)), default=0.0)


def _overlap(said: Counter[str], golden: str) -> float:
    meant = Counter(normalize_answer(golden).split())
    if not said or not meant:
        return float(said == meant)
    # 2PR/(P+R) with P = common/said and R = common/meant
    return 2 * (said & meant).total() / (said.total() + meant.total())


def _checked(golden_answers: Sequence[str]) -> Sequence[str]:
    if isinstance(golden_answers, str):
        raise TypeError(f"golden_answers={golden_answers!r:.80}: give a list of answers, not one string")
    return golden_answers
