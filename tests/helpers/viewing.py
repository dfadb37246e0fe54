"""Episodes with hostile text, and pages of the viewer that show episodes built by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stepopsd_agent.viewer import Shown, Source, StepCredit, page, page_data
from stepopsd_wrappers import Episode, Step
from tests.helpers.text_env import make_episode

LINE = "x" * 1_000_000
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    "<!-- <script> --><img src=x onerror='window.hacked = 3'>",
    "\u202eturned around\u2066 \u2028 \u0000 \x1b[31m",
    "&lt;b&gt; {{script}} \ud800 \N{FIRE}",
    "unseen\u200b \u00ad \u2060 \u180e \ufff9 \U000e0041.",
)


def attempt(number: int = 0, won: bool = False, steps: int = 4, kind: str = "walk_and_open") -> Episode:
    """An episode whose distances fall to the goal after one step back."""
    episode = make_episode(number % 8, num_steps=steps)
    distances = [steps, *range(steps + 1, 2, -1), 0 if won else 2]
    found = []
    for index, (step, distance) in enumerate(zip(episode.steps, distances, strict=True)):
        told = {"index": index, "valid": index != 2, "kind": "act"}
        info = {**step.info, "step": told, "optimal_distance": distance, "task_type": kind}
        info |= {"goal": f"open door {number}", "won": won and index == steps}
        found.append(replace(step, info=info, observation=f"You stand at {index} of {number}."))
    return replace(episode, update=number // 8, steps=tuple(found))


def with_text(episode: Episode, text: str) -> Episode:
    """The episode with this text wherever a record may have some."""

    def said(step: Step) -> Step:
        info = {**step.info, "goal": text, "task_type": text[:99], "task_id": text}
        return replace(step, observation=text, response=text, action=text[:-1], info=info)

    steps = tuple(said(step) for step in episode.steps)
    return replace(episode, task_id=text, run=text, steps=steps)


def with_credit(episode: Episode, *methods: str) -> Shown:
    """The episode with a credit for each method that differs among steps and, of the last, among tokens."""
    credit = {}
    for name in methods:
        spread = 0.5 if name == methods[-1] else 0.0
        credit[name] = [
            StepCredit(k - 1.5, (k - 1.5 - spread, k - 1.5, k - 1.5 + spread), (0.0, spread, -spread))
            if spread
            else StepCredit(k - 1.5, (k - 1.5,) * 3)
            for k in range(episode.num_steps)
        ]
    return Shown(episode, credit)


def write_page(path: Path, sources: Sequence[Source], methods: Sequence[str] = ()) -> Path:
    """Write the page and return its path."""
    path.write_text(page(page_data(sources, methods)), encoding="utf-8")
    return path
