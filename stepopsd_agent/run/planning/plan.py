"""Memory on the device, tokens by part, and time of an update: arithmetic on shapes and settings.

Every figure is an upper bound with the lengths it is given: an update whose episodes are as long, with a peer
in every hindsight block and all passes full, takes that much.
"""

from dataclasses import dataclass

from stepopsd_agent.config import RunConfig
from stepopsd_agent.models.packed import CHUNK_BYTES, START
from stepopsd_agent.run.planning.shapes import Shape

SHARE_OF_RATE = 0.4
"""Share of the measured matmul rate that forward and backward passes are expected to reach."""
_SAMPLING_BYTES = 40
"""Of one logit while a token is chosen: logits, log-probabilities and cumulative sums, some in float64."""
_LOGIT_BYTES = 16
"""Of one logit in scoring with gradient: the output, its float32 copy, log-probabilities and gradient."""


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
    cut = config.rollout.top_k > 0 or config.rollout.top_p < 1
    parts = {
        "sampled": sampled,
        "read while playing": rows - sampled,
        "old log-probs": rows if config.learner.rescore_old or cut else 0,
        "teacher": _teacher_tokens(config, needs, lengths),
        "reference": rows if config.learner.kl_coef else 0,
        "critic": 2 * rows if "value" in needs else 0,
        "update": rows,
    }
    return {name: round(count) for name, count in parts.items() if count}


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


def longest_row(config: RunConfig, shape: Shape, lengths: Lengths) -> float:
    """Tokens of one row, with the steps and responses of ``lengths``."""
    one = lengths.row
    if config.env.layout == "window":
        one = max(lengths.first, lengths.further) + lengths.response
    return min(one, config.rollout.max_row_tokens, shape.positions)


def memory_by_part(
    config: RunConfig, shape: Shape, lengths: Lengths, bytes_per_weight: int
) -> dict[str, int]:
    """Bytes on the device, and last the most that is there at once: playing or updating."""
    learner, device = config.learner, config.device.partition(":")[0]
    full = max(4, bytes_per_weight)  # adapters, and copies of half-precision weights, are float32
    copied = 0 if learner.lora.rank or bytes_per_weight == full else shape.trained
    matrices = shape.matrices if learner.muon_lr and not learner.lora.rank else 0
    row, episodes = longest_row(config, shape, lengths), config.rollout.tasks * config.rollout.group_size
    slots = min(config.rollout.slots, episodes)
    budget = START[device] if learner.tokens_per_micro_batch == "auto" else learner.tokens_per_micro_batch
    one_pass = min(max(budget, row), episodes * lengths.row)
    layer = shape.activations / shape.layers
    kept = kept_with_checkpointing(shape, bytes_per_weight) + layer
    places = min(one_pass, CHUNK_BYTES / (4 * shape.vocabulary))
    cache = slots * row * shape.kv_width * shape.layers * bytes_per_weight
    parts = {
        "weights": shape.parameters * bytes_per_weight + (shape.trained * 4 if learner.lora.rank else 0),
        "full-precision copies": copied * full,
        "gradients": shape.trained * full,
        "gradients of a pass": copied * bytes_per_weight,
        "optimizer": (2 * (shape.trained - matrices) + matrices) * full,
        "activations": one_pass * (kept if learner.gradient_checkpointing else shape.activations + layer),
        "logits of the update": places * shape.vocabulary * _LOGIT_BYTES,
        "key-value cache": cache * (1 + 1 / shape.layers),
        "logits of sampling": slots * shape.vocabulary * _SAMPLING_BYTES,
    }
    always = ("weights", "full-precision copies", "gradients", "optimizer")
    updating = ("gradients of a pass", "activations", "logits of the update")
    playing = ("key-value cache", "logits of sampling")
    most = [sum(parts[name] for name in names) for names in (always, updating, playing)]
    whole = {name: round(value) for name, value in parts.items() if value}
    return {**whole, "at most at once": round(most[0] + max(most[1:]))}


def kept_with_checkpointing(shape: Shape, bytes_per_weight: int) -> int:
    """Bytes per token that stay where layers are computed again: what each begins with, and the last norm."""
    return shape.hidden * (shape.layers * bytes_per_weight + 8)


def host_memory(config: RunConfig, shape: Shape, bytes_per_weight: int) -> int:
    """Bytes of the copies that wait on the host: initial, teacher's, and the current during a pass."""
    if config.learner.lora.rank:
        return 2 * shape.trained * 4
    return 3 * shape.parameters * bytes_per_weight


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
    passes = {name: tokens.get(name, 0) for name in ("old log-probs", "teacher", "reference", "critic")}
    for name, count in passes.items():
        if count:
            out[name] = forward(count, sampled)
    out["update"] = update_passes(config) * forward(tokens["update"], sampled)
    return out
