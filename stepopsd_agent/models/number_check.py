"""Log-probabilities of scoring and of play against the model's own, on two rows of 12 tokens.

Four short forward passes, a fraction of what reading the weights takes. The reference is the model's own pass
with the plain attention of transformers, which knows the soft caps and sinks that faster kernels leave out.
Windows are longer than such rows: `self_check` reads them off the configuration. FlexAttention, the back end
on CUDA, would have to be compiled first: "segments" stands for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from stepopsd_agent.config import Attention
from stepopsd_agent.models.packed.attention import NAME, RowCache
from stepopsd_agent.models.packed.packing import Branch, Tree
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.scoring import Scorer

ROW, SHARED = 12, 6
"""Tokens of each row, and how many of them both rows begin with."""
PROMPTS = (ROW - 2, ROW - 5)
"""Tokens of each row that are read at once in play; two more are predicted."""
INSTEAD = "choose a model like Qwen2.5, Qwen3, Llama 3 or SmolLM2"
UNKNOWN = (
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "final_logit_softcapping",
    "attn_logit_softcapping",
)
"""Settings of transformers that change logits or attention in a way that scoring does not know."""


def number_problems(policy: Policy) -> list[str]:
    """Log-probabilities of scoring, with a branch, and of play, with a cache, against the model's own."""
    rows = _rows(policy)
    try:
        expected = _own_logprobs(policy, rows)
    except Exception as error:  # code of any model, which may raise anything
        return [f"the model's own forward pass fails ({first_line(error)}); {INSTEAD}"]
    if not torch.isfinite(expected).all():
        kind = str(policy.model.dtype).removeprefix("torch.")
        return [
            f"the model's own log-probabilities are not finite: its weights are damaged, or {kind} is too "
            "narrow for them; copy them again, go on from an earlier checkpoint, or give model.dtype float32"
        ]
    ways = {"scoring": _scoring_error, "play": _play_error}
    problems, off = [], dict[str, float]()
    allowed = 1e-3 if policy.model.dtype in (torch.float32, torch.float64) else 0.5
    for name, way in ways.items():
        try:
            difference = way(policy, rows, expected)
        except Exception as failure:  # likewise
            problems.append(
                f"{name} fails on {type(policy.model).__name__} ({first_line(failure)}); {INSTEAD}"
            )
            continue
        if not difference <= allowed:  # not a number is not allowed, either
            off[name] = difference
    if off:
        who = " and ".join(off) + (" gives" if len(off) == 1 else " give")
        problems.append(
            f"{who} log-probabilities up to {max(off.values()):.3g} nats off the model's own, where "
            f"{allowed} is allowed{_suspects(policy.model)}; {INSTEAD}"
        )
    return problems


def _rows(policy: Policy) -> list[list[int]]:
    """Two rows of ordinary tokens that begin alike."""
    size = int(policy.model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]
    control = policy.tokenizer.added_tokens_decoder
    usual = [i for i in range(min(size, len(policy.tokenizer))) if i not in control]
    draw = torch.Generator().manual_seed(0)
    ids = [usual[i] for i in torch.randint(len(usual), (2 * ROW - SHARED,), generator=draw).tolist()]
    return [ids[:ROW], ids[:SHARED] + ids[ROW:]]


def _own_logprobs(policy: Policy, rows: Sequence[Sequence[int]]) -> Tensor:
    """[2, ROW - 1] log-probabilities of all tokens but the first, by the model's forward pass."""
    ids = torch.tensor(rows, device=policy.device)
    with torch.inference_mode(), _plain_attention(policy.model):
        logits = policy.model(input_ids=ids, use_cache=False).logits[:, :-1]
    return _picked(logits, ids[:, 1:])


@contextmanager
def _plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """The attention that transformers writes out in full, for a while."""
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)


def _picked(logits: Tensor, ids: Tensor) -> Tensor:
    """The log-probabilities of tokens [..., T] under logits [..., T, V], on CPU."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0].cpu()


def _scoring_error(policy: Policy, rows: Sequence[Sequence[int]], expected: Tensor) -> float:
    """The largest difference (nats) of the first row and of the second as its branch, scored by "auto"."""
    first, second = rows
    middle = (SHARED + ROW) // 2
    branch = Branch(SHARED, tuple(second[SHARED:middle]), tuple(second[middle:]))
    tree = Tree(tuple(first), (branch,), tuple(range(1, ROW)))

    attention: Attention = "segments" if policy.takes_packs else "padded"
    ((trunk, (target,)),) = Scorer(policy, tokens_per_pass=4 * ROW, attention=attention).logprobs([tree])
    return _largest(trunk - expected[0], target - expected[1, middle - 1 :])


def _play_error(policy: Policy, rows: Sequence[Sequence[int]], expected: Tensor) -> float:
    """The largest difference (nats) where the decoder's way is taken.

    Prompts of different lengths are read at once; one more token of each row follows, by the cache.
    """
    read = _played if policy.takes_packs else _played_padded
    with torch.inference_mode():
        logits = read(policy, rows)
    differences = []
    for i, size in enumerate(PROMPTS):
        following = torch.tensor(rows[i][size : size + 2], device=policy.device)
        picked = _picked(torch.stack([part[i] for part in logits]), following)
        differences.append(picked - expected[i, size - 1 : size + 1])
    return _largest(*differences)


def _played(policy: Policy, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """Logits [2, V] after the prompts and after one more token, as `Decoder` gets them."""
    cache = RowCache(len(PROMPTS))
    first = policy.next_logits({i: rows[i][:size] for i, size in enumerate(PROMPTS)}, cache)
    new = {i: rows[i][size : size + 1] for i, size in enumerate(PROMPTS)}
    return [first, policy.next_logits(new, cache)]


def _played_padded(policy: Policy, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """The same, as `PaddedDecoder` gets them: prompts are padded on the left."""
    device, longest = policy.device, max(PROMPTS)
    ids = torch.full((2, longest), rows[0][0], dtype=torch.long, device=device)
    real = torch.zeros(2, longest, dtype=torch.bool, device=device)
    for i, size in enumerate(PROMPTS):
        ids[i, longest - size :] = torch.tensor(rows[i][:size], device=device)
        real[i, longest - size :] = True
    sizes = torch.tensor(PROMPTS, device=device)[:, None]
    every = torch.ones(longest, longest, dtype=torch.bool, device=device)
    mask = (every.tril() & real[:, None]) | torch.eye(longest, dtype=torch.bool, device=device)
    cache = DynamicCache()
    first = policy.padded_logits(ids, (real.long().cumsum(1) - 1).clamp_min(0), mask[:, None], cache)
    new = torch.tensor([[row[size]] for row, size in zip(rows, PROMPTS, strict=True)], device=device)
    seen = torch.cat([real, torch.ones_like(real[:, :1])], dim=1)
    return [first, policy.padded_logits(new, sizes, seen[:, None, None], cache)]


def _largest(*differences: Tensor) -> float:
    return float(torch.cat(differences).abs().max())


def _suspects(model: PreTrainedModel) -> str:
    """Known causes of a difference that the model has, as a clause."""
    facts = model.config.get_text_config().to_dict()
    suspects = [f"{name}={facts[name]}" for name in UNKNOWN if facts.get(name) is not None]
    if any(name.endswith(".sinks") for name, _ in model.named_parameters()):
        suspects.append("attention sinks")
    return f" (the model has {', '.join(suspects)})" if suspects else ""


def first_line(error: Exception) -> str:
    """The beginning of an error's text, for a message of one line."""
    return (str(error) or repr(error)).splitlines()[0]
