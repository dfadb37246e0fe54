"""A Gymnasium text space that contains every string."""

from types import ModuleType
from typing import Any, NoReturn

import numpy as np
from gymnasium.error import CustomSpaceError
from gymnasium.spaces import Text
from gymnasium.vector.utils.shared_memory import create_shared_memory
from numpy.typing import NDArray

SAMPLE_CHARACTERS = "".join(map(chr, range(32, 127))) + "\n\t\u00e9\u00df\u4e2d\U0001f600"
MAX_SAMPLE_LENGTH = 64

Mask = tuple[int | None, NDArray[np.int8] | None]
Probability = tuple[int | None, NDArray[np.float64] | None]


class UnicodeText(Text):
    """All ``str`` values: empty, accented, very long, with control characters or lone surrogates.

    Gymnasium's ``Text`` bounds length and alphabet; by default it excludes blanks and the empty string.
    ``sample`` draws up to ``MAX_SAMPLE_LENGTH`` characters of ``SAMPLE_CHARACTERS``; this does not bound the
    space.
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(MAX_SAMPLE_LENGTH, min_length=0, charset=SAMPLE_CHARACTERS, seed=seed)

    def contains(self, x: Any) -> bool:
        """Return True for every string."""
        return isinstance(x, str)

    def character_index(self, char: str) -> NoReturn:
        """Refuse: flattening calls this method, and it would lose or confuse characters.

        Raises:
            CustomSpaceError: always.
        """
        raise CustomSpaceError(
            f"got {char!r}: UnicodeText has no finite alphabet and cannot be flattened; encode the text first"
        )

    @property
    def is_np_flattenable(self) -> bool:
        """False, since no array of fixed size can hold every string."""
        return False

    @property
    def spaces(self) -> NoReturn:
        """Refuse: stable-baselines3 asks for the parts of a space before it makes arrays of its shape.

        Raises:
            CustomSpaceError: always.
        """
        raise CustomSpaceError(
            "texts have no parts and no shape, so an algorithm that reads arrays cannot read them: wrap the "
            "environment as EncodeText(AdmissibleActions(env)), both of stepopsd_wrappers.sb3"
        )

    def __repr__(self) -> str:
        """Return the constructor call; the space has no parameters."""
        return "UnicodeText()"

    def __eq__(self, other: object, /) -> bool:
        """Return whether the other space is a ``UnicodeText``: all of them are equal."""
        return isinstance(other, UnicodeText)


@create_shared_memory.register(UnicodeText)
def _refuse_shared_memory(space: UnicodeText, n: int = 1, ctx: ModuleType | None = None) -> NoReturn:
    raise CustomSpaceError(
        f"{space!r} fits no memory of fixed size; pass AsyncVectorEnv(..., shared_memory=False) or "
        'gym.make_vec(..., vectorization_mode="async", vector_kwargs={"shared_memory": False})'
    )
