"""Texts as vectors of fixed length: by hashing words, or by a model of sentence-transformers."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Protocol

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from stepopsd_envs.extras import install_command

Vectors = NDArray[np.float32]
_WORD = re.compile(r"[^\W\d_]+|\d+")
CACHE_SIZE = 50_000


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """The name from which `make_encoder` makes an equal encoder."""
        ...

    @property
    def size(self) -> int:
        """Length of the vectors."""
        ...

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, size] one vector for each text."""
        ...


class HashingEncoder:
    """Feature hashing: a sign at a hashed index for each word, and for each word with the number after it.

    Words that two texts share add to their inner product; numbers alone do not, so "mug 1" is similar to
    "mug 2" and most similar to itself. Nothing is learned, and no package or file is needed.
    """

    def __init__(self, size: int = 128) -> None:
        """Choose the length of the vectors; in shorter ones more words share an index."""
        if size < 1:
            raise ValueError(f"size is {size}; give the length of the vectors, 1 or more")
        self._size = size
        self._places: dict[str, tuple[int, float]] = {}

    @property
    def name(self) -> str:
        """The name, with the length."""
        return f"hashing:{self._size}"

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return self._size

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, size] vectors of length 1; zeros for a text without words."""
        vectors = np.zeros((len(texts), self._size), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for term in _terms(text):
                place, sign = self._place(term)
                vector[place] += sign
            vector /= max(float(np.linalg.norm(vector)), 1e-6)
        return vectors

    def _place(self, term: str) -> tuple[int, float]:
        if term not in self._places:
            number = int.from_bytes(
                blake2b(term.encode("utf-8", "replace"), digest_size=8).digest(), "little"
            )
            self._places[term] = (number >> 1) % self._size, 1.0 if number & 1 else -1.0
        return self._places[term]


def _terms(text: str) -> list[str]:
    """The words of a text, and those with a number as pairs with it."""
    words = _WORD.findall(text.lower())
    pairs = pairwise(words)
    return [w for w in words if not w.isdigit()] + [f"{w} {n}" for w, n in pairs if n.isdigit()]


class SentenceEncoder:
    """A model of sentence-transformers, by its name or folder (extra ``search``)."""

    def __init__(self, model: str, device: str = "cpu") -> None:
        """Load the model.

        Raises:
            DependencyNotInstalled: sentence-transformers is not installed.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise DependencyNotInstalled(
                f"encoder {model!r} needs sentence-transformers: {install_command('search')}, or take the "
                'encoder "hashing"'
            ) from error
        self._name, self._model = model, SentenceTransformer(model, device=device)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return int(self.__call__([""]).shape[1])

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, size] vectors of length 1."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


class CachedEncoder:
    """Caches the vectors of another encoder by text, since games repeat their texts."""

    def __init__(self, encoder: Encoder, limit: int = CACHE_SIZE) -> None:
        """Wrap `encoder`; beyond `limit` texts the oldest is dropped."""
        self._encoder, self._limit = encoder, limit
        self._vectors: dict[str, Vectors] = {}
        self.name, self.size = encoder.name, encoder.size

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, size] vectors; texts that are not cached are encoded in one call."""
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        encoded = dict(zip(new, self._encoder(new), strict=True)) if new else {}
        vectors = [encoded[text] if text in encoded else self._vectors[text] for text in texts]
        self._vectors |= encoded
        while len(self._vectors) > self._limit:
            del self._vectors[next(iter(self._vectors))]
        return np.stack(vectors) if vectors else np.zeros((0, self.size), dtype=np.float32)


def make_encoder(name: str) -> Encoder:
    """An encoder by its name: "hashing", "hashing:SIZE", or a model of sentence-transformers.

    Raises:
        ValueError: the size is not a positive number.
        DependencyNotInstalled: sentence-transformers is not installed.
    """
    kind, _, size = name.partition(":")
    if kind != "hashing":
        return SentenceEncoder(name)
    if size and not size.isdecimal():
        raise ValueError(f"encoder is {name!r}; give hashing, hashing:SIZE, or a model's name")
    return HashingEncoder(int(size)) if size else HashingEncoder()
