"""The error that reading a game file raises."""


class GameFileError(ValueError):
    """A game file cannot be read or played. The message names file, field, problem and remedy.

    Attributes:
        path: the file as given.
        field: the JSON key and, after a colon, the position inside it; "" for the whole file.
        problem: what was got, and what was expected.
        advice: what to do next.
    """

    def __init__(self, path: str, field: str, problem: str, advice: str = "download the game again") -> None:
        """Store the parts of the message."""
        super().__init__(path, field, problem, advice)
        self.path, self.field, self.problem, self.advice = path, field, problem, advice

    def __str__(self) -> str:
        """File, field, problem and advice in one printable line, even if the file is damaged."""
        where = f"{self.path}: field {self.field!r}" if self.field else self.path
        line = f"{where}: {self.problem}; {self.advice}"
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
