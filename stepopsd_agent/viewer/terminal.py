"""Episodes for a terminal: a list, and the transcript of one with its credit as bars. Plain text."""

import re
from collections.abc import Sequence

from stepopsd_agent.rollout import success_table, table_text
from stepopsd_agent.tasks import unit_of
from stepopsd_agent.viewer.credits import names_on_the_page
from stepopsd_agent.viewer.source import Shown, Source

LONGEST = 4000
"""Characters of one text that are printed, as a terminal's scrollback is limited."""
BAR = 8
_HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that control the terminal, turn the text around, or cannot be seen."""


def list_text(sources: Sequence[Source], limit: int) -> str:
    """Success, then a line for each episode, numbered through all sources."""
    lines, number = [], 0
    for source in sources:
        table = success_table([shown.episode for shown in source.shown])
        rows = {safe(name)[:60]: row for name, row in table["by_task_type"].items()}
        units = {unit_of(shown.episode) for shown in source.shown}
        unit = f"{units.pop() if len(units) == 1 else 'task'}s"
        lines += [safe(source.label), table_text("task type", {**rows, "all": table}, unit), ""]
        lines.append(f"{'number':>6}  outcome  steps  return  {'update':>6}  {'group':>5}  goal")
        for place, shown in enumerate(source.shown):
            if place < limit:
                lines.append(_line(shown, number + place))
        number += len(source.shown)
        if len(source.shown) > limit:
            lines.append(f"... and {len(source.shown) - limit} more; --limit N shows more of them")
        lines.append("")
    return "\n".join(lines).rstrip()


def _line(shown: Shown, number: int) -> str:
    episode = shown.episode
    goal = safe(str(episode.steps[0].info.get("goal", "") or episode.task_id)).replace("\n", " ")[:60]
    return (
        f"{number:>6}  {shown.outcome:<7}  {episode.num_steps:>5}  {episode.episode_return:>6.2f}  "
        f"{episode.update:>6}  {episode.group:>5}  {goal}"
    )


def episode_text(shown: Shown, methods: Sequence[str]) -> str:
    """The transcript of an episode: commands with reward, distance and credit, and observations."""
    episode = shown.episode
    lines = [
        f"{safe(episode.task_id)}, {safe(episode.task_type)}, seed {episode.seed}: {shown.outcome}, "
        f"return {episode.episode_return:g}, {episode.num_steps} steps",
        "",
        safe(episode.steps[0].observation),
    ]
    largest = {name: _largest([step.credit for step in steps]) for name, steps in shown.credit.items()}
    short_names = dict(zip(methods, names_on_the_page(methods), strict=True))
    for index, step in enumerate(episode.steps[1:], start=1):
        lines += ["", f"{index:>3} > {safe(step.action or step.response)}"]
        if step.response.strip() != step.action:
            lines.append(f"      response: {safe(step.response)}")
        notes = []
        if not step.info.get("step", {}).get("valid", True):
            notes.append("invalid")
        if step.reward:
            notes.append(f"reward {step.reward:g}")
        if (distance := step.info.get("optimal_distance", -1)) != -1:
            notes.append("goal unreachable" if distance < 0 else f"{distance} to the goal")
        if note := step.info.get("search_note", ""):
            notes.append(f"nothing found: {safe(str(note))}")
        if notes:
            lines.append(f"      {', '.join(notes)}")
        for name in methods:
            if name in shown.credit:
                value = shown.credit[name][index - 1].credit
                lines.append(f"      {_bar(value, largest[name])} {value:+.3f}  {safe(short_names[name])}")
        if methods and shown.progress is not None:
            value = shown.progress[index - 1]
            lines.append(f"      {_bar(value, _largest(shown.progress))} {value:+.3f}  truth")
        lines.append(safe(step.observation))
        if step.error is not None:
            lines.append(f"      error: {safe(step.error)}")
    return "\n".join(lines)


def _largest(values: Sequence[float]) -> float:
    return max(map(abs, values), default=0.0) or 1.0


def _bar(value: float, largest: float) -> str:
    """A bar to the left of the line for negative values, to the right for positive ones."""
    length = round(BAR * min(1.0, abs(value) / largest))
    left, right = ("", "█" * length) if value >= 0 else ("█" * length, "")
    return f"{left:>{BAR}}|{right:<{BAR}}"


def safe(text: str) -> str:
    """Text that cannot control the terminal: what cannot be seen is spelled out, and the end is cut."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"
    spelled = _HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", cut.replace("\t", "    "))
    return spelled.encode("utf-8", "replace").decode()
