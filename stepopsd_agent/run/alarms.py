"""Alarms: pure functions from an update's metrics and the state before to the alarms raised now.

The state goes through checkpoints, so a run that is continued raises the same alarms.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stepopsd_agent.config import AlarmConfig, AlarmsConfig, Consequence

BELOW = frozenset({"credit", "short"})
"""Alarms that are raised by small values; the others by large ones."""
ENDLESS = 1e30
"""Stands for numbers that are not finite, which a checkpoint's JSON cannot hold."""
MEANING = {
    "gap": "gap between teacher and student",
    "clip": "share of clipped tokens",
    "credit": "entropy of credit over steps",
    "flat": "share of groups that nothing is learned from",
    "short": "length of responses over that of the first updates",
    "long": "length of responses over that of the first updates",
    "repetition": "share of repetitions",
    "kl": "KL",
    "mismatch": "KL from the engine that samples to the learner",
    "skipped": "share of updates with a gradient that was not finite",
}


@dataclass(frozen=True)
class Alarm:
    """One alarm that was raised.

    Attributes:
        update: number of updates done then.
        name: which.
        value: the mean that raised it.
        at: the threshold.
        do: what followed.
    """

    update: int
    name: str
    value: float
    at: float
    do: Consequence

    def __str__(self) -> str:
        side = "below" if self.name in BELOW else "above"
        follows = {"lower": ": lambda_mix lowered", "stop": ": run stopped"}.get(self.do, "")
        return f"{self.name}: {MEANING[self.name]} is {self.value:.3g}, {side} {self.at:g}{follows}"


@dataclass(frozen=True)
class AlarmState:
    """The memory of the alarms between updates.

    Attributes:
        recent: values of the latest updates, by alarm.
        lengths: of responses in the first updates.
        active: alarms that are raised and have not fallen silent.
        factor: of the credit method's scheduled fields, after alarms that lower them.
        raised: every alarm so far.
    """

    recent: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    lengths: tuple[float, ...] = ()
    active: frozenset[str] = frozenset()
    factor: float = 1.0
    raised: tuple[Alarm, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "recent": {name: list(values) for name, values in self.recent.items()},
            "lengths": list(self.lengths),
            "active": sorted(self.active),
            "factor": self.factor,
            "raised": [asdict(alarm) for alarm in self.raised],
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "AlarmState":
        """The inverse of `to_json`."""
        return AlarmState(
            recent={name: tuple(history) for name, history in values["recent"].items()},
            lengths=tuple(values["lengths"]),
            active=frozenset(values["active"]),
            factor=values["factor"],
            raised=tuple(Alarm(**alarm) for alarm in values["raised"]),
        )


def update_alarms(
    before: AlarmState, metrics: Mapping[str, float], update: int, config: AlarmsConfig
) -> AlarmState:
    """The state after an update, with the alarms that it raises.

    An alarm is raised when its mean crosses the threshold, and again only after it came back. One that lowers
    restarts its mean, so that it may lower again when that did not help.
    """
    lengths = before.lengths
    if len(lengths) < config.window and "train/tokens_per_step" in metrics:
        lengths = (*lengths, metrics["train/tokens_per_step"])
    after = replace(before, lengths=lengths)
    for name, value in measured(metrics, lengths).items():
        after = _one(after, name, value, update, config)
    return after


def _one(state: AlarmState, name: str, value: float, update: int, config: AlarmsConfig) -> AlarmState:
    alarm: AlarmConfig = vars(config)[name]
    recent = (*state.recent.get(name, ()), value)[-config.window :]
    state = replace(state, recent={**state.recent, name: recent})
    mean = sum(recent) / len(recent)
    if alarm.do == "off" or len(recent) < config.window or not crossed(name, mean, alarm.at):
        return replace(state, active=state.active - {name})
    if name in state.active:
        return state
    raised = (*state.raised, Alarm(update, name, mean, alarm.at, alarm.do))
    if alarm.do == "lower":
        fresh = {**state.recent, name: ()}
        return replace(state, recent=fresh, raised=raised, factor=state.factor * config.lower_by)
    return replace(state, raised=raised, active=state.active | {name})


def measured(metrics: Mapping[str, float], lengths: tuple[float, ...]) -> dict[str, float]:
    """The watched values that these metrics tell; one that is not finite counts as `ENDLESS`."""
    learned = _values(metrics, "train/learned_groups", "train/mixed_groups")  # the latter without an update
    figures = {
        "gap": _values(metrics, *(name for name in metrics if name.startswith("signal/gap_"))),
        "clip": _values(metrics, "update/clip_fraction"),
        "credit": _values(metrics, "credit/step_entropy"),
        "flat": [1 - v for v in learned[:1]],
        "repetition": _values(metrics, "signal/repeated_steps", "signal/repeated_ngrams"),
        "kl": [abs(v) for v in _values(metrics, "update/kl", "update/approx_kl")],
        "mismatch": _values(metrics, "mismatch/kl"),
        "skipped": [float("update/skipped" in metrics or "update/value_skipped" in metrics)],
    }
    first = sum(lengths) / len(lengths) if lengths else 0.0
    if first > 0:
        ratio = [v / first for v in _values(metrics, "train/tokens_per_step")]
        figures |= {"short": ratio, "long": ratio}
    return {name: max(values) for name, values in figures.items() if values}


def _values(metrics: Mapping[str, float], *names: str) -> list[float]:
    values = [metrics[name] for name in names if name in metrics]
    return [value if math.isfinite(value) else ENDLESS for value in values]


def crossed(name: str, value: float, at: float) -> bool:
    """Whether a value is beyond a threshold."""
    return value < at if name in BELOW else value > at


def stopping(state: AlarmState, config: AlarmsConfig) -> Alarm | None:
    """The alarm that stopped the run, unless the settings have been changed since so that it would not."""
    for alarm in state.raised:
        now: AlarmConfig = vars(config)[alarm.name]
        if alarm.do == now.do == "stop" and crossed(alarm.name, alarm.value, now.at):
            return alarm
    return None
