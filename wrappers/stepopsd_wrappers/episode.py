"""Episodes as frozen, versioned records: every step, with the tokens that the policy sampled for it.

`Episode.to_json` writes one line; `Episode.from_json` reads it back as an equal record, for all strings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from stepopsd_envs.step_info import recorded_problem
from stepopsd_wrappers.plain_json import EpisodeFormatError, check_numbers, dump_line, load_line, plain_copy

SCHEMA = "stepopsd.episode/1"
AGENT_ERROR = "the agent raised "
"""Begins the error of a step at which the agent raised; the environment's begin with a type."""

_EPISODE_TYPES: dict[str, tuple[type, ...]] = {
    "schema": (str,),
    "run": (str,),
    "update": (int,),
    "group": (int,),
    "member": (int,),
    "task_id": (str,),
    "seed": (int,),
    "env_spec": (dict,),
    "fingerprint": (str,),
    "engine_version": (str,),
    "closed_early": (bool,),
    "steps": (list,),
}
_STEP_TYPES: dict[str, tuple[type, ...]] = {
    "observation": (str,),
    "response": (str,),
    "action": (str,),
    "reward": (float, int),
    "terminated": (bool,),
    "truncated": (bool,),
    "info": (dict,),
    "tokens": (dict, type(None)),
    "error": (str, type(None)),
}
_SPEC_TYPES: dict[str, tuple[type, ...]] = {"id": (str,), "kwargs": (dict,)}
_TOKEN_TYPES: dict[str, tuple[type, ...]] = {
    "prompt_ids": (list, tuple),
    "sampled_ids": (list, tuple),
    "logprobs": (list, tuple),
    "new_row": (bool,),
    "action_span": (list, tuple),
}


@dataclass(frozen=True, slots=True)
class StepTokens:
    """The token ids of one response, exactly as sampled; text is derived from ids, never the reverse."""

    prompt_ids: tuple[int, ...]
    """Ids between the end of the previous step and the sampled ids; the whole prompt if `new_row`."""
    sampled_ids: tuple[int, ...]
    """Ids that the policy sampled."""
    logprobs: tuple[float, ...]
    """Log-probabilities of the sampled ids at the time of sampling, in nats."""
    new_row: bool
    """True if the prompt does not extend the ids of the previous step; always True at the first step."""
    action_span: tuple[int, int]
    """Range of indices into `sampled_ids` that hold the action; (0, len) when unknown."""

    def __post_init__(self) -> None:
        """Check the lengths.

        Raises:
            ValueError: a log-probability is missing, or the span does not lie within the sampled ids.
        """
        count = len(self.sampled_ids)
        if len(self.logprobs) != count:
            raise ValueError(
                f"StepTokens: {len(self.logprobs)} logprobs for {count} sampled_ids; give one for each"
            )
        start, end = self.action_span
        if not 0 <= start <= end <= count:
            raise ValueError(
                f"StepTokens: action_span {self.action_span} is no range within {count} sampled_ids; "
                f"use (0, {count}) when it is unknown"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """One action and the environment's answer to it; the first step of an episode is its reset."""

    observation: str
    """The environment's answer at this step; empty when the environment raised."""
    response: str
    """The agent's response as given; empty at the reset."""
    action: str
    """The command that reached the environment; empty at the reset."""
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    """Info dict of the environment; its StepInfo has this step's position as index. Empty when it raised."""
    tokens: StepTokens | None = None
    error: str | None = None
    """Type and text of the exception that the environment raised at this step, or `AGENT_ERROR` and those of
    the agent's, which then gave no response: the environment was not stepped."""

    @property
    def agent_error(self) -> str:
        """Type and text of the exception that the agent raised; empty if it raised none."""
        error = self.error or ""
        return error.removeprefix(AGENT_ERROR) if error.startswith(AGENT_ERROR) else ""


@dataclass(frozen=True, slots=True)
class Episode:
    """One whole episode; (run, update, group, member) identifies it."""

    run: str
    update: int
    group: int
    member: int
    task_id: str
    seed: int
    env_spec: dict[str, Any]
    """`id` and `kwargs` for `gymnasium.make`; the id is empty for an environment made without it."""
    fingerprint: str
    """Hash of the data that the environment was made from; a replay on other data is refused."""
    steps: tuple[Step, ...]
    """steps[0] is the reset, steps[k] the outcome of the k-th action."""
    closed_early: bool = False
    """True: a reset or close cut the episode short; the recorder, not the environment, set `truncated`."""
    engine_version: str = ""
    """Engine that answered, with its version; `replay` refuses another one by default. Empty: not known."""

    def __post_init__(self) -> None:
        """Check that there is at least the reset.

        Raises:
            ValueError: there are no steps.
        """
        if not self.steps:
            raise ValueError("Episode: steps is empty; the first step has to be the reset")

    @property
    def num_steps(self) -> int:
        """Number of actions."""
        return len(self.steps) - 1

    @property
    def group_key(self) -> tuple[str, int, int]:
        """Key that the episodes of one group share; numbers of groups begin anew in every update."""
        return self.run, self.update, self.group

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return sum((step.reward for step in self.steps), 0.0)

    @property
    def failed(self) -> bool:
        """Whether an error of environment or agent ended it; one that was merely lost has not failed."""
        return self.steps[-1].error is not None

    @property
    def success(self) -> bool:
        """Whether the goal was reached at the end; False when an error ended it."""
        return not self.failed and bool(self.steps[-1].info["won"])

    @property
    def task_type(self) -> str:
        """Type of the task, as the environment names it; "not begun" if its reset raised."""
        info = self.steps[0].info
        return str(info.get("task_type", "not begun") if self.failed else info["task_type"])

    def to_json(self) -> str:
        """Return the record as one line of JSON, in ASCII and without the newline.

        Raises:
            EpisodeFormatError: a field holds a value that JSON cannot represent; the error names the field.
        """
        record = {
            "schema": SCHEMA,
            "run": self.run,
            "update": self.update,
            "group": self.group,
            "member": self.member,
            "task_id": self.task_id,
            "seed": self.seed,
            "env_spec": plain_copy(self.env_spec, "env_spec"),
            "fingerprint": self.fingerprint,
            "engine_version": self.engine_version,
            "closed_early": self.closed_early,
            "steps": [_step_to_record(step, f"steps[{k}]") for k, step in enumerate(self.steps)],
        }
        return dump_line(_checked(record, _EPISODE_TYPES, ""))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the episode whose `to_json` gave `line`.

        Raises:
            EpisodeFormatError: not JSON, another schema, or a missing, unknown or mistyped field, or an info
                that lacks what a record says of every step.
        """
        try:
            record = load_line(line)
        except ValueError as error:
            raise EpisodeFormatError(
                f"not JSON ({error}); expected one line with a {SCHEMA} record"
            ) from error
        fields = _checked(_with_schema(record), _EPISODE_TYPES, "")
        _checked(fields["env_spec"], _SPEC_TYPES, "env_spec")
        steps = tuple(_step_from_record(step, f"steps[{k}]") for k, step in enumerate(fields.pop("steps")))
        del fields["schema"]
        if not steps:
            raise EpisodeFormatError("steps is empty; the first step of an episode is its reset")
        begun = steps[-1].error is None or "step" in steps[0].info
        for k, step in enumerate(steps):
            if step.error is None and begun and (problem := recorded_problem(step.info, k)):
                raise EpisodeFormatError(f"steps[{k}].{problem}: it was changed; restore it from a copy")
        return cls(steps=steps, **fields)


def _with_schema(record: object) -> dict[str, Any]:
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(record, dict) or schema != SCHEMA:
        raise EpisodeFormatError(
            f"schema {schema!r} is not known; this version reads {SCHEMA!r}: use the version of stepopsd "
            "that wrote the record"
        )
    return dict(record)


def _step_to_record(step: Step, where: str) -> dict[str, Any]:
    record = {
        "observation": step.observation,
        "response": step.response,
        "action": step.action,
        "reward": plain_copy(step.reward, f"{where}.reward"),
        "terminated": step.terminated,
        "truncated": step.truncated,
        "info": plain_copy(step.info, f"{where}.info"),
        "tokens": None if step.tokens is None else _tokens_to_record(step.tokens, f"{where}.tokens"),
        "error": step.error,
    }
    return _checked(record, _STEP_TYPES, where)


def _step_from_record(record: object, where: str) -> Step:
    fields = _checked(record, _STEP_TYPES, where)
    plain_copy(fields["reward"], f"{where}.reward")
    if fields["tokens"] is not None:
        fields["tokens"] = _tokens_from_record(fields["tokens"], f"{where}.tokens")
    return Step(**fields)


def _tokens_to_record(tokens: StepTokens, where: str) -> dict[str, Any]:
    record = {
        "prompt_ids": tokens.prompt_ids,
        "sampled_ids": tokens.sampled_ids,
        "logprobs": tokens.logprobs,
        "new_row": tokens.new_row,
        "action_span": tokens.action_span,
    }
    return _checked_tokens(record, where)


def _tokens_from_record(record: object, where: str) -> StepTokens:
    fields = _checked_tokens(record, where)
    lists = {name: tuple(value) for name, value in fields.items() if name != "new_row"}
    try:
        return StepTokens(new_row=fields["new_row"], **lists)
    except ValueError as error:
        raise EpisodeFormatError(f"{where}: {error}") from error


def _checked_tokens(record: object, where: str) -> dict[str, Any]:
    fields = _checked(record, _TOKEN_TYPES, where)
    for name in ("prompt_ids", "sampled_ids", "action_span"):
        check_numbers(fields[name], (int,), f"{where}.{name}")
    check_numbers(fields["logprobs"], (float, int), f"{where}.logprobs")
    return fields


def _checked(record: object, types: Mapping[str, tuple[type, ...]], where: str) -> dict[str, Any]:
    """Return a copy of `record`, which must have exactly the fields of `types`."""
    if not isinstance(record, dict) or record.keys() != types.keys():
        got = sorted(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise EpisodeFormatError(
            f"{where or 'episode'}: got {got}, expected a record with the fields {sorted(types)}"
        )
    for name, value in record.items():
        wrong_bool = isinstance(value, bool) and bool not in types[name]
        if wrong_bool or not isinstance(value, types[name]):
            names = " or ".join(kind.__name__ for kind in types[name])
            field = f"{where}.{name}" if where else name
            raise EpisodeFormatError(f"{field}: got {type(value).__name__}, expected {names}")
    return dict(record)
