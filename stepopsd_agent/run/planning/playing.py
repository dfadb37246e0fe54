"""What playing takes of the memory: with the built-in decoder, beside vLLM, or in actors of Ray."""

import math
import os
from dataclasses import dataclass

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import PlayLimits
from stepopsd_agent.models.packed import CACHE_ROOM, SHARED_MASK
from stepopsd_agent.rollout import FILLED_SHARE, OPEN_COLUMNS
from stepopsd_agent.run.planning.shapes import Shape
from stepopsd_agent.tasks import evaluation_sets

MASK_BYTES = 3
"""Of one place of a mask beside its additive form: parts, whole and complement, as truth values."""
_SAMPLING_BYTES = 40
"""Of one logit while a token is chosen: logits, log-probabilities and cumulative sums, some in float64."""
_ENGINE = "vLLM, while it draws"


@dataclass(frozen=True)
class Lengths:
    """How long things are, in tokens; means over an update.

    Attributes:
        first: the first prompt of an episode.
        further: read at each later step: the new observation, or in the window layout a whole prompt.
        response: sampled at a step.
        steps: of an episode.
        block: a hindsight block.
    """

    first: float
    further: float
    response: float
    steps: float
    block: float

    @property
    def row(self) -> float:
        """Tokens of an episode, all rows together."""
        return self.first + (self.steps - 1) * self.further + self.steps * self.response


def longest_row(config: RunConfig, shape: Shape, lengths: Lengths) -> float:
    """Tokens of one row, with the steps and responses of ``lengths``."""
    longest = lengths.row
    if config.env.layout == "window":
        longest = max(lengths.first, lengths.further) + lengths.response
    return min(longest, config.rollout.max_row_tokens, shape.positions)


def cache_columns(config: RunConfig, shape: Shape, lengths: Lengths) -> float:
    """Places of the key-value cache for each slot: the longest row; if padded its holes, and a turn.

    Holes are closed before a turn once they are three in ten. A turn is as wide as the longest prompt, which
    is a first one where an episode begins beside others.
    """
    longest = longest_row(config, shape, lengths)
    if shape.packs:
        return longest
    turn = min(longest, max(lengths.first, lengths.further) + lengths.response)
    if config.env.layout == "window":  # every turn is a row of its own
        return OPEN_COLUMNS + turn
    return max(OPEN_COLUMNS, longest / FILLED_SHARE) + turn


def filled_slots(config: RunConfig, players: int = 1) -> int:
    """Episodes that one of several players has side by side at most, in an update or in an evaluation.

    A set whose number of tasks is known only once they are read is taken to fill all slots.
    """
    rollout, totals = config.rollout, [one.total for one in evaluation_sets(config)]
    evaluated = max(rollout.slots * players if total is None else total for total in totals)
    most = max(-(-rollout.tasks // players) * rollout.group_size, -(-evaluated // players))
    return min(rollout.slots, most)


def playing_parts(
    config: RunConfig, shape: Shape, lengths: Lengths, bytes_per_weight: int, device_memory: int | None
) -> dict[str, float]:
    """Bytes on the learner's device while episodes are played, beside what is there all the time.

    Args:
        config: settings.
        shape: of the model.
        lengths: of rows.
        bytes_per_weight: of the model.
        device_memory: what the device has, of which vLLM takes its share; when None that is left out.

    Returns:
        Nothing where actors of Ray or a server play.
    """
    rollout = config.rollout
    if rollout.backend == "builtin":
        return decoder_parts(config, shape, lengths, bytes_per_weight, filled_slots(config))
    if rollout.backend == "ray" or rollout.url is not None:
        return {}
    if config.device.startswith("cuda"):
        return {_ENGINE: rollout.engine_memory * device_memory} if device_memory else {}
    cache = float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or 1) * 2**30
    return {_ENGINE: shape.parameters * bytes_per_weight + cache}


def decoder_parts(
    config: RunConfig, shape: Shape, lengths: Lengths, bytes_per_weight: int, slots: int
) -> dict[str, float]:
    """Bytes of the built-in decoder with this many slots."""
    columns = cache_columns(config, shape, lengths)
    cache = slots * (columns + CACHE_ROOM) * shape.kv_width * shape.layers * bytes_per_weight
    reading, layer = min(PlayLimits().tokens, slots * max(lengths.first, lengths.further)), shape.activations
    if shape.packs:
        working, masks = 1 / shape.layers, _row_masks(config, shape, lengths, slots) * bytes_per_weight
    else:  # where keys and values are written out for every head
        working = (1 + 2 * shape.attention_width / shape.kv_width) / shape.layers
        masks = reading * columns * (bytes_per_weight + MASK_BYTES)
    return {
        # A layer's keys and values are copied when their room is full.
        "key-value cache": cache * (1 + working),
        "reading of prompts": reading * layer / shape.layers + masks,
        "logits of sampling": slots * shape.vocabulary * _SAMPLING_BYTES,
    }


def _row_masks(config: RunConfig, shape: Shape, lengths: Lengths, slots: int) -> float:
    """Places of the masks that one pass of `Decoder` holds: those of turns that go on with a row.

    A row that begins has none, but for one that a pass had no room for. Heads that share keys have a mask
    each unless it is large; while the last one is made, its first form stands beside it.
    """
    columns, shared = cache_columns(config, shape, lengths), 2 * shape.attention_width / shape.kv_width
    most, turn, one = PlayLimits().tokens, lengths.further, max(lengths.first, lengths.further)

    def places(tokens: float, of: float) -> float:
        return tokens * columns * min(shared, max(1, SHARED_MASK / (of * columns)))

    begun = places(min(one, most), one) if slots * one > most else 0.0
    if config.env.layout == "window":
        return begun
    return begun + places(min(most, slots * turn), max(1, turn)) + turn * columns


def actor_parts(config: RunConfig, shape: Shape, lengths: Lengths, bytes_per_weight: int) -> dict[str, int]:
    """Bytes of each actor of Ray: a model of its own, and the slots that it fills; nothing without actors."""
    rollout = config.rollout
    if rollout.backend != "ray":
        return {}
    slots = filled_slots(config, rollout.actors)
    parts = decoder_parts(config, shape, lengths, bytes_per_weight, slots)
    parts = {"weights": float(shape.parameters * bytes_per_weight), **parts}
    return {name: round(count) for name, count in {**parts, "together": sum(parts.values())}.items()}


def filled_gpus(config: RunConfig) -> int:
    """GPUs on which Ray's actors are, the first ones of the machine."""
    rollout = config.rollout
    if rollout.actor_gpus >= 1:
        return rollout.actors * math.ceil(rollout.actor_gpus)
    return -(-rollout.actors // _together(rollout.actor_gpus)) if rollout.actor_gpus else 0


def _together(part: float) -> int:
    """Actors that Ray places on one GPU, each with this part of it."""
    return math.floor(1 / part + 1e-9)


def actors_beside(config: RunConfig) -> int:
    """Actors of Ray on the learner's own device, where Ray plays on this machine.

    Ray fills GPUs from the first on, and reserves none for the learner. On a cluster it is not known which
    machine's they are, so there is none counted.
    """
    rollout, (kind, _, number) = config.rollout, config.device.partition(":")
    if rollout.backend != "ray" or "RAY_ADDRESS" in os.environ:
        return 0
    if kind == "cpu" or not rollout.actor_gpus:
        return rollout.actors if kind == "cpu" and not rollout.actor_gpus else 0
    own = int(number or 0)
    if rollout.actor_gpus >= 1:  # of several GPUs an actor uses the first
        return int(own < filled_gpus(config) and own % math.ceil(rollout.actor_gpus) == 0)
    each = _together(rollout.actor_gpus)
    return max(0, min(each, rollout.actors - own * each))


def engine_needs(config: RunConfig, shape: Shape, lengths: Lengths, bytes_per_weight: int) -> int:
    """Bytes that vLLM in this process needs at least: the weights, and the cache of one row."""
    row = longest_row(config, shape, lengths) * shape.kv_width * shape.layers
    return round((shape.parameters + row) * bytes_per_weight)
