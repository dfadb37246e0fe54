"""Random bad input: actions of arbitrary characters, and damaged game files."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

ODD_SIGNS = (
    "\x00\x07\x08\x1b\x7f\x85\u00a0\u00ad\u200b\u200d\u2028\u2029\u202e\u2003\u3000\ufeff\ufffe\uffff"
    "\ud800\udbff\udc00\udfff\u0130\u00df\ufb01\u0345\U0001f600\U0010ffff\t\n\r\x0b\x0c\x1c\x1d"
)
OUTER_BLANKS = ("", "", " ", "\t", "\n", "\r\n", "\u2003", "\u00a0", "\x1c", "\x0b", "\u200b", "\x00")
NO_STRINGS = (None, 0, -1, 2.5, float("nan"), True, b"look", ["look"], {"look": 1}, ("look",), object())
WRONG_VALUES: tuple[Any, ...] = (
    None,
    3,
    -0.5,
    True,
    "",
    "x",
    [],
    ["x"],
    {},
    {"x": []},
    [[]],
    "\ud800",
    "\x00",
)
DEEP = 100_000

Corruption = Callable[[random.Random, bytes], bytes]


def random_action(rng: random.Random, admissible: Sequence[str], seen: Sequence[str]) -> object:
    """An action for ``step``: random characters, a near miss of a command, or an admissible command.

    ``seen`` are commands that were admissible earlier, in any state.
    """
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(admissible)
    if kind < 0.4:
        return rng.choice(seen)
    if kind < 0.75:
        return near_miss(rng, rng.choice(admissible))
    if kind < 0.999:
        return random_text(rng, rng.choice((0, 1, 3, 12, 40)))
    return rng.choice((*NO_STRINGS, random_text(rng, 40) * 500))


def random_text(rng: random.Random, length: int) -> str:
    """Characters of all Unicode; control characters, lone surrogates and rare blanks are more frequent."""
    return "".join(
        rng.choice(ODD_SIGNS) if rng.random() < 0.3 else chr(rng.randrange(0x110000)) for _ in range(length)
    )


def near_miss(rng: random.Random, command: str) -> str:
    """A slightly changed command, still admissible only if the change is surrounding blanks."""
    place = rng.randrange(len(command) + 1)
    head, tail = command[:place], command[place:]
    return rng.choice(
        (
            lambda: rng.choice(OUTER_BLANKS) + command + rng.choice(OUTER_BLANKS),
            lambda: command.replace(" ", "  ", 1),
            lambda: command.replace(" ", rng.choice(OUTER_BLANKS)),
            lambda: command.swapcase(),
            lambda: command.capitalize(),
            lambda: head + rng.choice(ODD_SIGNS) + tail,
            lambda: head + tail[1:],
            lambda: head + tail[1:2] + tail[:1] + tail[2:],
            lambda: command.rstrip("0123456789") + str(rng.choice((0, -1, 1, 2, 99, 10**30))),
            lambda: command.replace("1", rng.choice(("\u0661", "\u00b9", "01", "1.0", "1_0"))),
            lambda: f"{command} {command}",
            lambda: f"{command}\n{command}",
            lambda: command.replace(" ", "_"),
            lambda: command[::-1],
        )
    )()


def cut(rng: random.Random, data: bytes) -> bytes:
    """Truncate the file."""
    return data[: rng.randrange(len(data))]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a block, as after a disk failure."""
    start, size = rng.randrange(len(data)), rng.choice((1, 16, 512, 4096))
    block = rng.choice((bytes(size), rng.randbytes(size), data[:size]))
    return data[:start] + block + data[start + size :]


def wrong_type(rng: random.Random, data: bytes) -> bytes:
    """Give a key, or the whole file, a value of a wrong type."""
    content, value = json.loads(data), rng.choice(WRONG_VALUES)
    if rng.random() < 0.1:
        return json.dumps(value).encode()
    content[rng.choice(_played(content))] = value
    return json.dumps(content).encode()


def missing(rng: random.Random, data: bytes) -> bytes:
    """Remove or rename a required key."""
    content = json.loads(data)
    key = rng.choice([name for name in _played(content) if name != "walkthrough"])
    value = content.pop(key)
    if rng.random() < 0.5:
        content[key.upper()] = value
    return json.dumps(content).encode()


def nested(rng: random.Random, data: bytes) -> bytes:
    """Insert deeply nested brackets into the file or one of its texts."""
    opening, closing = rng.choice((("[", "]"), ("(", ")"), ('{"a":', "}")))
    deep = opening * DEEP + rng.choice(("", "1")) + closing * rng.choice((0, DEEP))
    if rng.random() < 0.3:
        return deep.encode()
    content = json.loads(data)
    key = rng.choice(("pddl_domain", "grammar", "pddl_problem"))
    place = rng.randrange(len(content[key]))
    content[key] = content[key][:place] + deep + content[key][place:]
    return json.dumps(content).encode()


def reworded(rng: random.Random, data: bytes) -> bytes:
    """Delete, double, exchange or replace words of one of the texts."""
    content = json.loads(data)
    key = rng.choice(("pddl_domain", "grammar", "pddl_problem"))
    words = content[key].split(" ")
    for _ in range(rng.choice((1, 1, 2, 5))):
        place, other = rng.randrange(len(words)), rng.randrange(len(words))
        words[place] = rng.choice(
            ("", words[other], words[place] * 2, random_text(rng, 3), "#", '"', "|", "(", ")", "{", "}", ";")
        )
    content[key] = " ".join(words)
    return json.dumps(content).encode()


def _played(content: dict[str, Any]) -> list[str]:
    """The keys that the reader uses, in a fixed order."""
    return [key for key in ("grammar", "pddl_domain", "pddl_problem", "walkthrough") if key in content]


CORRUPTIONS: tuple[Corruption, ...] = (cut, flipped, overwritten, wrong_type, missing, nested, reworded)
