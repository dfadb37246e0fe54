"""Memory on the device, tokens by part, and time of an update: arithmetic on shapes and settings.

Every figure is an upper bound with the lengths it is given: an update whose episodes are as long, with a peer
in every hindsight block and all passes full, takes that much. What is not in it: the libraries' own memory
(CUDA's context, compiled kernels, fragments between allocations), and what a retriever holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stepopsd_agent.batch import column_fields
from stepopsd_agent.config import RunConfig
from stepopsd_agent.models.packed import CHUNK_BYTES, START
from stepopsd_agent.run.planning.playing import (
    MASK_BYTES,
    Lengths,
    actor_parts,
    actors_beside,
    longest_row,
    playing_parts,
)
from stepopsd_agent.run.planning.shapes import Shape

SHARE_OF_RATE = 0.4
"""Share of the measured matmul rate that forward and backward passes are expected to reach."""
_GAP = frozenset({"student_logprobs", "teacher_logprobs"})
"""Columns whose difference is taken: the student is then scored as the teacher is."""
_COUNTED = _GAP | {"ref_logprobs", "value", "mc_value", "informed", "teacher_topk"}
"""Columns whose reading of a model, if any, is in the plan."""
_LIKELY_BYTES = 12
"""Of one of the teacher's likeliest tokens: its number and its log-probability."""
_COMPARED_BYTES = 48
"""The same in a pass of the update: a copy, the student's beside it, what their loss and gradient keep."""
TAUGHT = ("teacher's distributions", "reading of distributions")
ACTORS = "actors of Ray on this device"
_LOGIT_BYTES = 16
"""Of one logit in scoring with gradient: the output, its float32 copy, log-probabilities and gradient."""


@dataclass(frozen=True)
class Rates:
    """Rates of a device, per second.

    Attributes:
        flops: of a large matrix product.
        bytes: read from its memory.
    """

    flops: float
    bytes: float


def tokens_by_part(config: RunConfig, needs: frozenset[str], lengths: Lengths) -> dict[str, int]:
    """Tokens of one update: sampled, read beside, and processed by each pass over the rows."""
    episodes = config.rollout.tasks * config.rollout.group_size
    sampled = episodes * lengths.steps * lengths.response
    rows = episodes * lengths.row
    rescored = config.learner.rescore_old or config.rollout.rescored
    parts = {
        "sampled": sampled,
        "read while playing": rows - sampled,
        **_fresh_tokens(config, needs, lengths),
        "old log-probs": rows if rescored else 0,
        "student": rows if needs >= _GAP and not rescored else 0,
        "teacher": _teacher_tokens(config, needs, lengths),
        "reference": rows if config.learner.kl_coef else 0,
        "critic": 2 * rows if "value" in needs else 0,
        "update": rows,
    }
    return {name: round(count) for name, count in parts.items() if count}


def _fresh_tokens(config: RunConfig, needs: frozenset[str], lengths: Lengths) -> dict[str, float]:
    """Of fresh attempts from the state before every step; steps that share them make fewer."""
    if "mc_value" not in needs:
        return {}
    attempts = config.rollout.tasks * config.rollout.group_size * config.rollout.mc_rollouts
    turns = attempts * lengths.steps * (lengths.steps + 1) / 2
    sampled = turns * lengths.response
    read = attempts * lengths.steps * lengths.row - sampled  # each begins by reading what came before
    if config.env.layout == "window":
        read = turns * max(lengths.first, lengths.further)
    return {"fresh attempts, sampled": sampled, "fresh attempts, read": read}


def _teacher_tokens(config: RunConfig, needs: frozenset[str], lengths: Lengths) -> float:
    """A pass for the sampled tokens, and one for whole distributions, where they are needed."""
    passes = len(needs & {"teacher_logprobs", "teacher_topk"})
    episodes, hindsight = config.rollout.tasks * config.rollout.group_size, config.hindsight
    extra = lengths.block
    if config.env.layout == "window":  # a row ends with its one step, which no further one needs as context
        extra = lengths.steps * lengths.block
    elif hindsight.position == "inline" and lengths.block:
        extra = lengths.steps * (lengths.block + lengths.response) - lengths.response
    return passes * episodes * (lengths.row + extra)


def uncounted(needs: frozenset[str]) -> list[str]:
    """Columns that have a model read what `tokens_by_part` lacks: how much, only their functions know."""
    declared = column_fields()
    return sorted(
        name for name in needs - _COUNTED if (made := declared[name].metadata).get("filled") and made["model"]
    )


def without(columns: Sequence[str]) -> str:
    """The words that figures leave out what these columns read; empty where there are none."""
    return f", without what is read for {', '.join(columns)}" if columns else ""


def memory_by_part(
    config: RunConfig,
    shape: Shape,
    lengths: Lengths,
    bytes_per_weight: int,
    needs: frozenset[str] = frozenset(),
    device_memory: int | None = None,
) -> dict[str, int]:
    """Bytes on the device, and last the most that is there at once: playing, scoring or updating.

    Args:
        config: settings.
        shape: of the model.
        lengths: of rows.
        bytes_per_weight: of the model.
        needs: columns that the credit method reads.
        device_memory: what the device has, in bytes, of which vLLM takes a share; not counted when None.
    """
    learner, device = config.learner, config.device.partition(":")[0]
    full = max(4, bytes_per_weight)  # adapters, and copies of half-precision weights, are float32
    copied = 0 if learner.lora.rank or bytes_per_weight == full else shape.trained
    matrices = shape.matrices if learner.muon_lr and not learner.lora.rank else 0
    row, episodes = longest_row(config, shape, lengths), config.rollout.tasks * config.rollout.group_size
    budget = START[device] if learner.tokens_per_micro_batch == "auto" else learner.tokens_per_micro_batch
    one_pass = min(max(budget, row), episodes * lengths.row)
    layer, kept = shape.activations / shape.layers, kept_with_checkpointing(shape, bytes_per_weight)
    places = min(one_pass, CHUNK_BYTES / (4 * shape.vocabulary))
    playing = playing_parts(config, shape, lengths, bytes_per_weight, device_memory)
    with_teacher = not needs.isdisjoint({"teacher_logprobs", "teacher_topk"})
    padded = with_teacher and (learner.attention == "padded" or not shape.packs)
    taught = _distributions(config, shape, lengths, one_pass) if "teacher_topk" in needs else (0, 0)
    wide = device == "cpu" and bytes_per_weight < 4
    copies = _critic_copies(config, shape, bytes_per_weight) if "value" in needs else 0
    actor = actor_parts(config, shape, lengths, bytes_per_weight).get("together", 0)
    parts = {
        "weights": shape.parameters * bytes_per_weight + (shape.trained * 4 if learner.lora.rank else 0),
        "full-precision copies": copied * full,
        "gradients": shape.trained * full,
        "gradients of a pass": copied * bytes_per_weight,
        "optimizer": (2 * (shape.trained - matrices) + matrices) * full,
        "activations": one_pass * (layer + (kept if learner.gradient_checkpointing else shape.activations)),
        "logits of the update": places * shape.vocabulary * _LOGIT_BYTES,
        "output layer in float32": shape.head * 4 if wide else 0,
        "critic": _critic(config, shape, bytes_per_weight) if "value" in needs else 0,
        ACTORS: actor * actors_beside(config),
        "gradients of the critic's pass": copies // 2,
        "activations of the critic": one_pass * (shape.activations + layer) if "value" in needs else 0,
        "masks of the teacher": _masked(one_pass, row + lengths.block, bytes_per_weight) if padded else 0,
        **dict(zip(TAUGHT, taught, strict=True)),
        **playing,
    }
    whole = {name: round(value) for name, value in parts.items() if value}
    return {**whole, "at most at once": round(_at_once(parts, playing))}


def _at_once(parts: Mapping[str, float], playing: Iterable[str]) -> float:
    """What lasts, and with it the phase that takes most: the update, the critic's, scoring or playing."""
    always = ("weights", "full-precision copies", "gradients", "optimizer", "critic", ACTORS)
    phases = (
        ("gradients of a pass", "activations", "logits of the update", "output layer in float32", *TAUGHT),
        ("gradients of the critic's pass", "activations of the critic", TAUGHT[0]),
        ("masks of the teacher", "logits of the update", "output layer in float32", *TAUGHT),
        (*playing, "output layer in float32"),
    )
    lasting, *most = (sum(parts[name] for name in names) for names in (always, *phases))
    return lasting + max(most)


def _distributions(config: RunConfig, shape: Shape, lengths: Lengths, one_pass: float) -> tuple[float, float]:
    """Bytes of the teacher's likeliest tokens, and beside them: parts to put together, or a pass's loss."""
    each = min(config.hindsight.top_k or shape.vocabulary, shape.vocabulary)
    sampled = config.rollout.tasks * config.rollout.group_size * lengths.steps * lengths.response
    kept = sampled * each * _LIKELY_BYTES
    return kept, max(kept, min(one_pass, sampled) * each * _COMPARED_BYTES)


def _critic_weights(config: RunConfig, shape: Shape, bytes_per_weight: int) -> tuple[int, int]:
    """Bytes of what the critic trains, as the model holds it and at full precision.

    That is a copy of the network without its output layer (the embeddings are as large as that), or of its
    adapters, which are at full precision; and a number per token.
    """
    full, number = max(4, bytes_per_weight), shape.hidden + 1
    copied = shape.trained if config.learner.lora.rank else shape.body + shape.head
    held = copied * (full if config.learner.lora.rank else bytes_per_weight) + number * bytes_per_weight
    return held, (copied + number) * full


def _critic_copies(config: RunConfig, shape: Shape, bytes_per_weight: int) -> int:
    """Bytes of full-precision copies of what the critic trains in half precision."""
    if bytes_per_weight >= 4:
        return 0
    return 4 * (shape.hidden + 1 + (0 if config.learner.lora.rank else shape.body + shape.head))


def _critic(config: RunConfig, shape: Shape, bytes_per_weight: int) -> int:
    """Bytes of the critic's weights, their full-precision copies, gradients and two moments."""
    held, full = _critic_weights(config, shape, bytes_per_weight)
    return held + _critic_copies(config, shape, bytes_per_weight) + 3 * full


def _masked(tokens: float, width: float, bytes_per_weight: int) -> float:
    """Bytes of the dense masks of a pass over padded rows of this width."""
    return max(tokens, width) * width * (bytes_per_weight + MASK_BYTES)


def kept_with_checkpointing(shape: Shape, bytes_per_weight: int) -> int:
    """Bytes per token that stay where layers are computed again: what each begins with, and the last norm."""
    return shape.hidden * (shape.layers * bytes_per_weight + 8)


def host_memory(config: RunConfig, shape: Shape, bytes_per_weight: int) -> int:
    """Bytes of the copies that wait on the host: initial, teacher's, and the current during a pass.

    A teacher that is a moving average is in float32 at least, and there twice while it moves.
    """
    full, lora = max(4, bytes_per_weight), bool(config.learner.lora.rank)
    weights = shape.trained if lora else shape.parameters
    one, others = weights * (full if lora else bytes_per_weight), 1 if lora else 2
    if config.hindsight.teacher != "ema":
        return (others + 1) * one
    widened = shape.head * full if one < weights * full else 0  # of the current, one tensor at a time
    return others * one + 2 * weights * full + widened


def checkpoint_memory(
    config: RunConfig, shape: Shape, bytes_per_weight: int, needs: frozenset[str] = frozenset()
) -> int:
    """Bytes on the host while a checkpoint is written: weights and their copies, moments, the critic's."""
    full = max(4, bytes_per_weight)
    half = bytes_per_weight < full and not config.learner.lora.rank
    each = (full if config.learner.lora.rank else bytes_per_weight) + full * half + 2 * full
    held, wide = _critic_weights(config, shape, bytes_per_weight)
    critic = held + _critic_copies(config, shape, bytes_per_weight) + 2 * wide
    return shape.trained * each + (critic if "value" in needs else 0)


def pass_flops(shape: Shape, tokens: float, scored: float, context: float) -> float:
    """Operations of a forward pass: the layers over all tokens, the output layer where one is scored.

    Args:
        shape: of the model.
        tokens: processed.
        scored: of them.
        context: tokens that one attends to, in the mean.
    """
    attention = 4 * shape.layers * shape.attention_width * context
    return tokens * (2 * shape.body + attention) + scored * 2 * shape.head


def update_passes(config: RunConfig) -> int:
    """Cost of an update in forward passes: one forward, two backward, and one for recomputed layers."""
    return 4 if config.learner.gradient_checkpointing else 3


def seconds_by_part(
    config: RunConfig,
    shape: Shape,
    needs: frozenset[str],
    lengths: Lengths,
    rates: Rates,
    bytes_per_weight: int,
) -> dict[str, float]:
    """Seconds of an update's parts at `SHARE_OF_RATE` of the matmul rate; memory bounds decoding, too."""
    tokens = tokens_by_part(config, needs, lengths)
    rate, rounds = rates.flops * SHARE_OF_RATE, config.rollout.tasks * config.rollout.group_size
    context = longest_row(config, shape, lengths) / 2
    turns = lengths.steps * lengths.response * -(-rounds // config.rollout.slots)
    cache = min(config.rollout.slots, rounds) * context * shape.kv_width * shape.layers * bytes_per_weight
    decoding = turns * (shape.parameters * bytes_per_weight + cache) / rates.bytes
    sampled = tokens["sampled"]

    def forward(count: float, scored: float) -> float:
        return pass_flops(shape, count, scored, context) / rate

    read = forward(tokens["read while playing"], 0)
    out = {"playing": read + max(decoding, forward(sampled, sampled))}
    scoring = ("old log-probs", "student", "teacher", "reference", "critic")
    for name, count in ((name, tokens.get(name, 0)) for name in scoring):
        if count:
            out[name] = forward(count, sampled)
    if fresh := tokens.get("fresh attempts, sampled", 0):
        again = decoding * fresh / sampled
        read_again = forward(tokens["fresh attempts, read"], 0)
        out["fresh attempts"] = read_again + max(again, forward(fresh, fresh))
    out["update"] = update_passes(config) * forward(tokens["update"], sampled)
    return out
