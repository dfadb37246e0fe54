"""The Python of the documentation, and its training loop in short: fewer and shorter episodes."""

SHORTER = {
    "range(50)": "range(2)",
    "count=4, size=8": "count=1, size=4",
    'make("stepopsd/ALFWorld-v0", tier="tiny"), format': (
        'make("stepopsd/ALFWorld-v0", tier="tiny", num_games=1, step_limit=8), format'
    ),
}


def shortened(code: str) -> str:
    """The loop of examples/custom_loop.py and the README, for the one game that the tests' model knows."""
    for whole, part in SHORTER.items():
        assert whole in code, f"the loop no longer has {whole!r}"
        code = code.replace(whole, part)
    return code


def python_of(page: str) -> str:
    """The Python snippets of a page, at their lines; all others are empty."""
    kept, inside = list[str](), False
    for line in page.splitlines():
        fence = line.startswith("```")
        kept.append(line if inside and not fence else "")
        inside = line.rstrip() == "```python" if fence else inside
    return "\n".join(kept)
