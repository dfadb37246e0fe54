"""Settings of the alarms: thresholds and consequences."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from stepopsd_agent.config.limits import at_least

Consequence = Literal["off", "warn", "lower", "stop"]


@dataclass
class AlarmConfig:
    """One alarm.

    Attributes:
        at: the value at which it is raised.
        do: "warn", "lower" the scheduled fields of the credit method (lambda_mix), "stop" the run, or "off".
    """

    at: float
    do: Consequence = "warn"


@dataclass
class AlarmsConfig:
    """Thresholds of the alarms, each for a mean over the latest updates.

    Attributes:
        window: number of updates in a mean; no alarm is raised before that many were made.
        lower_by: what "lower" multiplies the scheduled fields by.
        gap: largest mean |log p_teacher - log p_student| of a kind of token, in nats; raised above.
        clip: share of tokens that the clipped surrogate gives no gradient; raised above.
        credit: entropy of an episode's credit over its steps, 1 where all have the same; raised below.
        flat: share of groups that nothing is learned from, as where all returns are equal; raised above.
        short: length of responses over that of the first updates; raised below.
        long: the same; raised above.
        repetition: share of steps, or of four tokens in a row, that an episode has had before; raised above.
        kl: KL to the initial policy (where learner.kl_coef measures it) or to the sampling one, in nats per
            token; raised above.
        mismatch: KL from an engine that samples to the learner, in nats per token; raised above.
        skipped: share of updates that left something out since its gradient was not finite, the policy's or
            the critic's; raised above, and stops the run.
    """

    window: int = at_least(1, 5)
    lower_by: float = at_least(0, 0.5)
    gap: AlarmConfig = field(default_factory=partial(AlarmConfig, 3.0))
    clip: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.3))
    credit: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.1))
    flat: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.9))
    short: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.3))
    long: AlarmConfig = field(default_factory=partial(AlarmConfig, 3.0))
    repetition: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.8))
    kl: AlarmConfig = field(default_factory=partial(AlarmConfig, 1.0))
    mismatch: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.1))
    skipped: AlarmConfig = field(default_factory=partial(AlarmConfig, 0.5, "stop"))
