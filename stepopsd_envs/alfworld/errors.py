"""The one error that reading a game file may raise."""


class GameFileError(ValueError):
    """A game file that cannot be read or played: says which file, which field, what is wrong and what to do.

    Attributes:
        path: the file, as it was given.
        field: the JSON key and, after a colon, the place inside it; "" for the whole file.
        problem: what was got and what was expected.
        advice: the next action.
    """

    def __init__(self, path: str, field: str, problem: str, advice: str = "download the game again") -> None:
        """Keep the parts; the message is made from them."""
        super().__init__(path, field, problem, advice)
        self.path, self.field, self.problem, self.advice = path, field, problem, advice

    def __str__(self) -> str:
        """One printable line, whatever a damaged file holds: file, field, problem, advice."""
        where = f"{self.path}: field {self.field!r}" if self.field else self.path
        line = f"{where}: {self.problem}; {self.advice}"
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)
