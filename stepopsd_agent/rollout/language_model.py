"""The policy as an agent: prompts continue rows of token ids, responses come with the tokens sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from stepopsd_agent.models import Policy, check_policy
from stepopsd_agent.rollout.backends import MakeRows, Rows
from stepopsd_agent.rollout.decoder import Decoder, Sampled
from stepopsd_agent.rollout.padded_decoder import PaddedDecoder
from stepopsd_agent.rollout.playing import LATER, Attempt, OnEpisode, Response, Slot, play
from stepopsd_agent.rollout.sampling import SamplingParams, action_tokens, checked_seed, noise
from stepopsd_agent.rollout.shortening import shortened_ids
from stepopsd_wrappers import Episode, ParseResponse, StepTokens, find_wrapper, recorder
from stepopsd_wrappers.parse_response import ResponseFormat


def rollout(
    policy: Policy,
    envs: Sequence[gym.Env[str, str]],
    attempts: Sequence[Attempt],
    params: SamplingParams | None = None,
    *,
    seed: int | str = 0,
    run: str = "",
    update: int = 0,
    on_episode: OnEpisode | None = None,
) -> list[Episode]:
    """Let the policy play every attempt once; return the records, with tokens, in the order of ``attempts``.

    Args:
        policy: the acting model.
        envs: one stack from ``make_text_env`` per slot; a finished slot takes the next attempt at once.
        attempts: the attempts to play.
        params: of sampling; the defaults when absent.
        seed: names the sampling noise. It is keyed by (seed, task, member, turn, position), so an attempt
            draws the same tokens whatever its neighbours and the number of slots.
        run: run name for the records.
        update: update number for the records.
        on_episode: called with each record as it finishes (progress bars).

    Returns:
        One episode per attempt; an episode that met an error of the environment carries it in its last step.
        Where memory runs out, fewer are played side by side, and those that were running begin again.
    """
    check_policy(policy)
    finished: dict[int, Episode] = {}
    same: dict[str, Any] = {"run": run, "update": update, "on_episode": on_episode}
    agent = LanguageModel(policy, params or SamplingParams(), seed)
    try:
        return play(agent, envs[: policy.play.slots], attempts, **same, finished=finished)
    except RuntimeError as error:
        left = [attempt for number, attempt in enumerate(attempts) if number not in finished]
        policy.play.halve_slots(error, min(len(envs), len(left), policy.play.slots or len(left)))
    del agent  # and its cache
    for env in envs:
        recorder(env).drop_episode()
    rest = iter(rollout(policy, envs, left, params, seed=seed, **same))
    return [finished[n] if n in finished else next(rest) for n in range(len(attempts))]


@dataclass
class _Row:
    """The decoder's row of one episode."""

    format: ResponseFormat
    shown: str = ""  # prompt and response text already in the row
    closed: bool = True  # the last response ended as the prompt format ends one
    turn: tuple[str, list[int]] = ("", [])  # an observation, and the ids it adds to the row
    added: list[int] = field(default_factory=list)  # ids that the response in the works continues
    noise: np.ndarray | None = None  # it is drawn with; None if there is no response in the works
    new_row: bool = True
    length: int = 0  # tokens, with the last response


class LanguageModel:
    """A policy that plays several episodes side by side, each in a row of one decoder; a `BatchAgent`."""

    def __init__(
        self, policy: Policy, params: SamplingParams, seed: int | str, decoder: MakeRows | None = None
    ) -> None:
        """Begin without episodes; arguments as of `rollout`. ``decoder`` makes rows in another way.

        Raises:
            ValueError: the model's positions leave no room for a prompt, or the seed names no noise.
        """
        self.policy, self.params, self.seed = policy, params, checked_seed(seed)
        self.max_row_tokens = min(params.max_row_tokens, policy.max_positions)
        if self.max_row_tokens <= params.max_tokens:
            raise ValueError(
                f"a row may have {self.max_row_tokens} tokens, a response {params.max_tokens}: that leaves "
                "none for the prompt; lower rollout.max_tokens"
            )
        self._rows: list[_Row] = []
        self._decoder: Rows | None = None
        self._make = decoder or (Decoder if policy.takes_packs else PaddedDecoder)

    def begin(self, place: int, slot: Slot) -> None:
        """Give the place a fresh row."""
        parser = find_wrapper(slot.env, ParseResponse)
        row = _Row("plain" if parser is None else parser.format)
        self._rows[place : place + 1] = [row]

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Sample a response for every place."""
        if self._decoder is None:
            self._decoder = self._make(self.policy, len(slots), self.params)
        for place, slot in enumerate(slots):
            if self._rows[place].noise is None:
                self._extend(place, slot, self._decoder)
        noise = np.stack([row.noise for row in self._rows if row.noise is not None])  # every row has some
        responses = self._decoder.respond([row.added for row in self._rows], noise)
        for row, length in zip(self._rows, self._decoder.lengths(), strict=True):
            row.length = length
        return [
            self._response(slot, row, sampled) if sampled else LATER
            for slot, row, sampled in zip(slots, self._rows, responses, strict=True)
        ]

    def is_full(self, place: int, slot: Slot) -> bool:
        """Whether the next turn and its response would outgrow the row."""
        row = self._rows[place]
        if not slot.observation.startswith(row.shown):
            return False  # a new row: its prompt is cut to size
        room = self.max_row_tokens - row.length - self.params.max_tokens
        return len(self._turn(row, slot.observation)) >= room

    def keep(self, places: Sequence[int]) -> None:
        """Drop the other places' rows; where none remains, the cache, too."""
        self._rows = [self._rows[place] for place in places]
        if not places:
            self._decoder = None
        elif self._decoder is not None:
            self._decoder.keep(places)

    def _extend(self, place: int, slot: Slot, decoder: Rows) -> None:
        """Set the ids to add to a row: a prompt that extends what the row shows continues it."""
        row, prompt_format = self._rows[place], self.policy.prompt_format
        row.noise = self._noise(slot)
        row.new_row = not row.shown or not slot.observation.startswith(row.shown)
        if row.new_row:
            decoder.restart(place)
            begun = () if row.shown else slot.attempt.row
            row.added = list(begun) or prompt_format.first_ids(slot.observation)
            room = self.max_row_tokens - self.params.max_tokens
            if len(row.added) > room and not begun:
                row.added = shortened_ids(self.policy, slot, room)
        else:
            row.added = self._turn(row, slot.observation)

    def _turn(self, row: _Row, observation: str) -> list[int]:
        """Ids that an observation adds to the row that it continues."""
        if row.turn[0] != observation:
            new = observation[len(row.shown) :]
            row.turn = observation, self.policy.prompt_format.turn_ids(new, row.closed)
        return row.turn[1]

    def _noise(self, slot: Slot) -> np.ndarray:
        """[max_tokens]; the attempt's seed is in the key, so a task played twice draws twice."""
        key, attempt = f"{self.seed}/{slot.attempt.seed}", slot.attempt
        return noise(key, attempt.task_id, attempt.member, slot.turn, self.params.max_tokens)

    def _response(self, slot: Slot, row: _Row, sampled: Sampled) -> Response:
        """The response with its tokens; the row then shows prompt and response."""
        text = self.policy.decode(sampled.ids)
        tokens = StepTokens(
            prompt_ids=tuple(row.added),
            sampled_ids=sampled.ids,
            logprobs=sampled.logprobs,
            new_row=row.new_row,
            action_span=action_tokens(self.policy, sampled.ids, text, row.format),
        )
        row.shown, row.noise = slot.observation + text, None
        row.closed = sampled.ids[-1] == self.policy.prompt_format.end_id
        return Response(text, tokens)
