"""Text analysis: the terms that BM25 counts.

Texts are lower-cased, stripped of accents and split into runs of letters and digits; stop words are dropped
and plurals made singular. Queries and passages are treated alike. The rules were chosen on the training
questions of HotpotQA and MuSiQue in the test data; recall is reported on other questions.
"""

import re
import unicodedata
from collections.abc import Iterator

VERSION = "1"
"""Part of fingerprints and saved indexes; increase it when a change alters the terms of any text."""
STOP_WORDS = frozenset(
    "a about after also an and any are as at be been both but by can did do does for from had has "
    "have he her hers him his how i if in into is it its me my no not of on or our own same she so "
    "some such than that the their them then there these they this those to was we were what when "
    "where which while who whom whose why will with you your".split()
)
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case and without accents."""
    return _WORD.findall(_without_accents(text).lower())


def term_of(word: str) -> str:
    """The term of a word; "" for a stop word."""
    return "" if word in STOP_WORDS else _singular(word)


def terms(text: str) -> Iterator[str]:
    """The terms of a text, in its order, with repetitions."""
    return filter(None, map(term_of, words(text)))


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    return "".join(character for character in apart if not unicodedata.combining(character))


def _singular(word: str) -> str:
    """Harman's S-stemmer: only the rule of the first matching ending applies, with its exceptions."""
    if len(word) < 4 or word[-1] != "s":
        return word
    if word.endswith("ies"):
        return word if word.endswith(("eies", "aies")) else word[:-3] + "y"
    if word.endswith("es"):
        return word if word.endswith(("aes", "ees", "oes")) else word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
