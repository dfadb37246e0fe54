"""The text of single tokens, if the tokenizer of the model that sampled them is found."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from stepopsd_agent.viewer.source import Source

FILE = "tokenizer.json"


def token_texts(source: Source, model: Path | None = None) -> Callable[[int], str] | None:
    """From a token id to its text; None where no tokenizer is found.

    Args:
        source: its run folder is searched, then the model folder that its settings name.
        model: folder of the model, in place of these.
    """
    home = source.path.parent if source.path.name == "episodes" else source.path
    chosen = source.settings.get("model")
    folders = [home / "model"] if model is None else [model]
    if model is None and isinstance(chosen, dict) and isinstance(chosen.get("path"), str):
        folders.append(Path(chosen["path"]))
    for folder in folders:
        if (folder / FILE).is_file():
            return _texts(folder / FILE)
    return None


def _texts(path: Path) -> Callable[[int], str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))

    @cache
    def text(token: int) -> str:
        decoded: str = tokenizer.decode([token], skip_special_tokens=False)
        return decoded or f"#{token}"

    return text
