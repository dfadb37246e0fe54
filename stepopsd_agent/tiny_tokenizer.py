"""The tokenizer of the tiny model, learned from the environments' own text."""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|end|>"  # ends a command of the tiny model; also its padding


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Learn byte-level BPE in which names and numbers are tokens of their own; stock phrases merge.

    A name is a word seen before a number ("cabinet 2"). Kept apart it is the same token in the task, in
    lists and in commands, so that a small model can match and copy it; the phrases between names then cost
    little.
    """
    names = sorted({name for text in texts for name in re.findall(r" ([a-z]+) \d", text)})
    apart = rf" (?:{'|'.join(names)})\b| \d+" if names else r" \d+"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(apart), "isolated"),
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
