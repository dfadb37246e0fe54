"""Text analysis: the terms that BM25 counts.

Texts are normalised (NFKC), case-folded, stripped of accents and strokes (é is e, ø is o, æ is ae) and
split into runs of letters, marks and digits; stop words are dropped and plurals made singular. What some
spell without its signs is joined to one more word: initials (U.S. and US, Ph.D. and PhD), words with an
apostrophe (O'Brien and OBrien, but not the possessive s and contracted verbs), thousands (1,000 and 1000)
and one letter with a hyphen (e-mail and email; all compounds would lower recall). A name with a sign that
tells it from other words (C++, C#, .NET, AT&T, R & B) is one more term beside its words, so that "C++"
ranks passages with C++ before those with C, and "C" finds both. In scripts written without spaces (Chinese,
Japanese, Thai and others) and in Korean, whose particles are attached to words, every bigram of characters
is a term, and so is every Chinese character. Queries and passages are analysed in the same way. The rules
were chosen on the training questions of HotpotQA and MuSiQue in the test data; recall is reported on other
questions.
"""

import re
import unicodedata
from collections.abc import Iterator

VERSION = "5"
"""Part of fingerprints and saved indexes; increase it when a change alters the terms of any text."""
STOP_WORDS = frozenset(
    "a about after also an and any are as at be been both but by can did do does for from had has "
    "have he her hers him his how i if in into is it its me my no not of on or our own same she so "
    "some such than that the their them then there these they this those to was we were what when "
    "where which while who whom whose why will with you your".split()
)
_WORD = re.compile(r"\w+")
_JOINED = (  # what a spelling needs (begins with one character, so that it is sought fast), and the spelling
    (
        re.compile(r"\.(?<=[^\W\d_]\.)[^\W\d_]"),
        re.compile(
            r"(?<![\w.])(?:(?:[^\W\d_]\.)+[^\W\d_](?!\w)"  # U.S.
            r"|(?:[^\W\d_]\.[^\W\d_]{2,4}|[^\W\d_]{2,5}(?:\.[^\W\d_])+)(?!\.?\w))"  # B.Sc., Ph.D.
        ),
    ),
    (
        re.compile(r"'(?<=[^\W\d_]')(?!(?:s|m|d|ll|re|ve)(?!\w))[^\W\d_]"),
        re.compile(r"(?<!\w)[^\W\d_]++(?:'(?!(?:s|m|d|ll|re|ve)(?!\w))[^\W\d_]++)+"),
    ),
    (
        re.compile(r",(?<=\d,)\d{3}(?!\d)"),
        re.compile(r"(?<![\d,.])[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}(?!\d|,\d)\w*"),
    ),
    (
        re.compile(r"-(?:(?<=[^\w-][^\W\d_]-)|(?<=^[^\W\d_]-)|[^\W\d_](?![\w-]))"),
        re.compile(r"(?<![\w-])(?:[^\W\d_]-[^\W\d_]{3,}|[^\W\d_]{3,}-[^\W\d_])(?![\w-])"),
    ),
)
_SIGNS = re.compile(r"\W+")
_SIGNED = re.compile(  # not in addresses, sums, entities and longer words, where the sign is punctuation
    r"(?<![a-z\d+#&@=?.])(?:[a-z]+\+\+(?![a-z+@])|[a-z]+\+(?![a-z\d+@])|[a-z][#\u266f](?![a-z#\u266f])"
    r"|[a-z]{1,3}&(?:amp;)?(?:[a-z]|[a-z]{2,3}(?!;))(?![a-z\d&=@])|[a-z] &(?:amp;)? [a-z](?![a-z\d&=@]))"
)
_DOTTED = re.compile(r"\.[a-z]{2,}(?![a-z\d@]|\.[a-z\d])")
_OPENING = "\"'([{*_`\u201c\u2018\u00ab"
_CHINESE = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WITHOUT_BLANKS = re.compile(
    f"[{_CHINESE}"
    "\u3041-\u30ff\u31f0-\u31ff"  # Japanese kana
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # Korean
    "\u0e01-\u0e4f\u0e81-\u0ecf\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u103f\u1050-\u108f\u109a-\u109f\ua9e0-\ua9ef\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17df]+"  # Khmer
)
_IDEOGRAPH = re.compile(f"[{_CHINESE}]")


def words(text: str) -> list[str]:
    """The words of a text, folded; in scripts without spaces, bigrams of characters."""
    if text.isascii():
        text = text.lower()
        return _WORD.findall(text) + _joined(text) + _names(text)
    text = _folded(text)
    runs = text.translate(_BLANKS).split()
    return [term for run in runs for term in _split(run)] + _joined(text) + _names(text)


def _joined(text: str) -> list[str]:
    """Words that some spell without the signs in them; their parts are words, too."""
    text = text.replace("`", "'")
    found = (spelling.findall(text) for needed, spelling in _JOINED if needed.search(text))
    return [_SIGNS.sub("", word) for words in found for word in words]


def _names(text: str) -> list[str]:
    """Names with their signs; their letters are words, too."""
    names = list[str]()
    if "+" in text or "#" in text or "&" in text or "\u266f" in text:
        found = (name.replace("amp;", "").replace("\u266f", "#") for name in _SIGNED.findall(text))
        names = [name.replace(" ", "") for name in found]
    for match in _DOTTED.finditer(text):
        before = text[max(0, match.start() - 4) : match.start()].rstrip(_OPENING)
        if not before or before[-1].isspace() or before[-1] == "/":
            names.append(match[0])
    return names


def _split(run: str) -> Iterator[str]:
    """The words of a run of letters; in a script without spaces, its overlapping bigrams."""
    end = 0
    for match in _WITHOUT_BLANKS.finditer(run):
        if match.start() > end:
            yield run[end : match.start()]
        part, end = match[0], match.end()
        yield from (part[i : i + 2] for i in range(len(part) - 1))
        yield from _IDEOGRAPH.findall(part) if len(part) > 1 else [part]
    if end < len(run):
        yield run[end:]


def term_of(word: str) -> str:
    """The term of a word; "" for a stop word."""
    return "" if word in STOP_WORDS else _singular(word)


def terms(text: str) -> Iterator[str]:
    """The terms of a text, in its order, with repetitions."""
    return filter(None, map(term_of, words(text)))


def why_unmatched(query: str) -> str:
    """Why no passage has a term of this query, for people to read."""
    sought = list(dict.fromkeys(terms(query)))
    if not sought:
        return "the query has no words but stop words, which are not searched for"
    listed = ", ".join(repr(term[:40]) for term in sought[:5]) + (", ..." if len(sought) > 5 else "")
    if all(len(term) == 1 and _WITHOUT_BLANKS.match(term) and not _IDEOGRAPH.match(term) for term in sought):
        return f"scripts without blanks are searched by pairs of characters, and {listed} stands alone"
    return f"no passage has {listed}"


class _Blanks(dict[int, str | None]):
    """Table for `str.translate`: a space for what is no part of a word, nothing for invisible characters.

    A regular expression would end words at the vowel signs of Indic scripts.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        in_word = character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"
        self[code] = character if in_word else None if character in _INVISIBLE else " "
        return self[code]


class _Accents(dict[int, str | None]):
    """Table for `str.translate` without accents and the vowels of Hebrew and Arabic, which many leave out.

    Letters whose stroke or ligature is no accent to Unicode are spelled as they are where they lack.
    """

    def __missing__(self, code: int) -> str | None:
        kind = unicodedata.combining(chr(code))
        self[code] = None if 10 <= kind <= 36 or kind >= 200 else _PLAIN.get(chr(code), chr(code))
        return self[code]


_PLAIN = {
    **dict(zip("øłđðħŧıɨʉɍƀɇ", "olddhtiiurbe", strict=True)),
    **{"æ": "ae", "œ": "oe", "þ": "th", "ŋ": "ng"},
    **dict.fromkeys("\u02bb\u02bc\u02be\u02bf", ""),  # letters that look like apostrophes (Hawaiian, Arabic)
    **dict.fromkeys("\u2018\u2019\u201b\xb7", "'"),
    "\u2010": "-",
}
_INVISIBLE = "\u00ad\u200c\u200d\u2060\ufeff"  # soft hyphen, joiners, byte order mark
_BLANKS, _ACCENTS = _Blanks(), _Accents()


def _folded(text: str) -> str:
    """The text as NFKC, without case (ß is ss) and accents; signs that make another letter are kept."""
    apart = unicodedata.normalize("NFKD", text.replace("\xb4", "'")).casefold()
    return unicodedata.normalize("NFKC", apart.translate(_ACCENTS))


def _singular(word: str) -> str:
    """Harman's S-stemmer: only the rule of the first matching ending applies, with its exceptions."""
    if len(word) < 4 or word[-1] != "s":
        return word
    if word.endswith("ies"):
        return word if word.endswith(("eies", "aies")) else word[:-3] + "y"
    if word.endswith("es"):
        return word if word.endswith(("aes", "ees", "oes")) else word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
