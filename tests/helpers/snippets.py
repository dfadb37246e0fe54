"""The documented training loop in short: the same code with fewer and shorter episodes."""

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
