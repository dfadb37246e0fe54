"""The tokenizer of the tiny model, learned from the environments' own text."""

import re
from collections.abc import Callable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|end|>"  # ends a command of the tiny model; also its padding


FindNames = Callable[[Sequence[str]], list[str]]
"""From texts to regular expressions of the names in them; each is applied to what those before it left."""


def numbered(texts: Sequence[str]) -> list[str]:
    """Names are the words seen before a number ("cabinet 2"), and numbers."""
    names = sorted({name for text in texts for name in re.findall(r" ([a-z]+) \d", text)})
    return [rf" (?:{'|'.join(names)})\b| \d+" if names else r" \d+"]


def capitalised(texts: Sequence[str]) -> list[str]:
    """Names are words that begin with a capital, and numbers.

    The blank before a name is no part of it: after a blank it is the same as inside quotation marks or tags.
    Inside a name the blank goes with the word behind it: no piece comes between the first word and the next.
    """
    return [r"\b[A-Z][A-Za-z]*(?: [A-Z][A-Za-z]*)*|\d+", r" [A-Z][A-Za-z]*"]


def train_tokenizer(texts: Sequence[str], vocab_size: int, names: FindNames = numbered) -> Tokenizer:
    """Learn byte-level BPE that keeps names as single pieces; stock phrases merge.

    A name then has the same token in the task, the observations and the actions, so that a small model can
    match and copy it; the phrases between names then cost little.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in names(texts)),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe
