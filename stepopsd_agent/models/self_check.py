"""Checks of a loaded model: test on the model itself what play and scoring assume.

Each check is a function from a policy to its problems, one sentence each: what was found, what is allowed,
and what to change. `load_policy` refuses a model with problems; `stepopsd check-model` prints all of them.
What the model computes is compared in `number_check`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PretrainedConfig

from stepopsd_agent.models.number_check import INSTEAD, first_line, number_problems
from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat, encode

RESPONSES = (
    "<think>It may be there.</think><action>go to shelf 1</action>",
    "<think>Who wrote it?</think><search>author of Emma</search>",
    "<answer>Jane Austen</answer>",
)
FIRST, REPLY, TURN = "first room", "look", "second room"


def window_problems(config: PretrainedConfig) -> list[str]:
    """Check the configuration, without the weights.

    Every layer needs full attention, positions must not depend on other rows, and the longest row is known.
    """
    text = config.get_text_config()
    positions, facts = longest_row(config), dict[str, Any](text.to_dict())
    if _has_alibi(facts):
        return [
            "the model has ALiBi: it weighs tokens by their distance in columns, where rows are packed "
            f"and decoded with positions that are given; {INSTEAD}"
        ]
    if positions is None:
        return [
            f"{type(config).__name__} has no max_position_embeddings, so the longest row is unknown; "
            f"{INSTEAD}, or, where attention is full, add it to config.json: the tokens that a row may have"
        ]
    if (switch := _switch_of_positions(facts)) is not None and switch < positions:
        return [
            f"positions are longrope: a row longer than {switch} tokens changes those of all rows in its "
            f"pass, so that log-probabilities would depend on other rows; {INSTEAD}"
        ]
    layers = facts.get("layer_types") or facts.get("attention_layers") or ()
    other = sorted(set(layers) - {"full_attention", "global"})
    unknown = [kind for kind in other if kind != "sliding_attention"]
    if unknown:
        return [
            f"some layers have {' and '.join(unknown)}; play and scoring need full attention in every layer: "
            f"{INSTEAD}"
        ]
    if (limit := _other_window(facts)) is not None and limit[1] < positions:
        name, size = limit
        return [
            f"{name} is {size}: in rows longer than that, of up to {positions} tokens, a token sees only "
            f"some of those before it, where play and scoring need full attention; {INSTEAD}, or set "
            f"max_position_embeddings to {size} in config.json"
        ]
    window = facts.get("sliding_window")
    windowed = bool(other) or (not layers and facts.get("use_sliding_window", True))
    if window is None or not windowed or window >= positions:
        return []
    remedy = INSTEAD
    if not layers:
        remedy += (
            ", or, for rows that the window never cuts, set sliding_window to null and "
            f"max_position_embeddings to {window} in config.json"
        )
    return [
        f"sliding_window is {window}: layers look back no further in rows of up to {positions} tokens, where "
        f"play and scoring need full attention; {remedy}"
    ]


def longest_row(config: PretrainedConfig) -> int | None:
    """``max_position_embeddings``, by which rows are cut; None where the configuration has none."""
    try:
        return int(config.max_position_embeddings)
    except (AttributeError, TypeError):
        return None


def _has_alibi(facts: Mapping[str, Any]) -> bool:
    """Whether biases of attention stand for positions; Falcon and MPT say so, BLOOM has no others."""
    attention = facts.get("attn_config") or {}
    return bool(facts.get("alibi") or attention.get("alibi") or facts.get("model_type") == "bloom")


def _other_window(facts: Mapping[str, Any]) -> tuple[str, int] | None:
    """Name and size of a limit on how many tokens one sees that has a name of its own; None for none.

    It applies to every layer, whatever ``layer_types`` says, and only to rows longer than the limit, so that
    the short rows of `number_check` never meet it.
    """
    sizes = {name: facts.get(name) for name in ("keep_window_size", "index_topk", "sliding_window_size")}
    limits = {name: size for name, size in sizes.items() if isinstance(size, int)}
    return min(limits.items(), key=lambda one: one[1]) if limits else None


def _switch_of_positions(facts: Mapping[str, Any]) -> int | None:
    """Return the length, in tokens, above which longrope changes all positions; None for other kinds."""
    rope = facts.get("rope_parameters") or facts.get("rope_scaling") or {}
    if "longrope" not in (rope.get("rope_type"), rope.get("type")):
        return None
    length = rope.get("original_max_position_embeddings", facts.get("original_max_position_embeddings"))
    return None if length is None else int(length)


def vocabulary_problems(policy: Policy) -> list[str]:
    """Check that every token of the tokenizer has a row in the embeddings."""
    rows = int(policy.model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]
    without = [token for token, number in policy.tokenizer.get_vocab().items() if number >= rows]
    if not without:
        return []
    return [
        f"{len(without)} tokens such as {min(without)!r} have no row among the {rows} of the embeddings; "
        "call model.resize_token_embeddings(len(tokenizer)) and save the model, or take the tokens out of "
        "the tokenizer"
    ]


def end_problems(policy: Policy) -> list[str]:
    """Check that the token that ends a response is also one token when its text is encoded."""
    prompt_format, tokenizer = policy.prompt_format, policy.tokenizer
    try:
        end = prompt_format.end_id
    except (ValueError, IndexError, TemplateError) as error:
        return (
            [str(error)] if isinstance(error, ValueError) else []
        )  # template_problems reports those of the template
    written = str(tokenizer.convert_ids_to_tokens(end))
    ids = encode(tokenizer, [written])[0]
    if ids == [end]:
        return []
    return [
        f"the end of a response, {written!r}, is {len(ids)} tokens when it is written, and has to be 1; "
        "declare it with tokenizer.add_special_tokens, set split_special_tokens to false, and save the "
        "tokenizer with the model"
    ]


def template_problems(policy: Policy) -> list[str]:
    """Check two turns of the chat template: system message, prompts, one end after the response."""
    prompt_format = policy.prompt_format
    if not prompt_format.chat:
        return []
    try:
        first = _text(policy, prompt_format.first_ids(FIRST))
    except TemplateError as error:
        if prompt_format.system and _takes_prompts_without_system(prompt_format):
            return [
                f"the chat template refuses a system message ({first_line(error)}); set model.system to ''"
            ]
        return [f"the chat template fails ({first_line(error)}); set model.chat to off"]
    problems = []
    if FIRST not in first:
        problems.append("the chat template leaves out the user's message; set model.chat to off")
    if prompt_format.system and prompt_format.system.strip() not in first:
        problems.append("the chat template leaves out or changes the system message; set model.system to ''")
    return problems or _second_turn(policy)


def _second_turn(policy: Policy) -> list[str]:
    """Check what the chat template adds after a response."""
    prompt_format = policy.prompt_format
    try:
        end = str(policy.tokenizer.convert_ids_to_tokens(prompt_format.end_id))
        texts = [_text(policy, prompt_format.turn_ids(TURN, closed=closed)) for closed in (True, False)]
    except IndexError:
        return [
            "the chat template drops or rewrites the response of an earlier turn, so that no row can go on "
            "after it; set model.chat to off, or give the tokenizer a template that writes every message"
        ]
    except TemplateError as error:
        return [f"the chat template fails in the second turn ({first_line(error)}); set model.chat to off"]
    except ValueError:  # no end at all: end_problems reports it
        return []
    counts = [text.partition(TURN)[0].count(end) for text in texts]
    if any(text.count(TURN) != 1 for text in texts):
        return ["the chat template does not write the second user's message once; set model.chat to off"]
    if counts != [0, 1]:
        return [
            f"the chat template writes {end!r} {counts[1]} times after a response, and {counts[0]} times "
            "after one that ended with it, not 1 and 0; set model.chat to off, or correct the template"
        ]
    system = prompt_format.system.strip()
    if system and system in texts[0]:
        return ["the chat template repeats the system message in a later turn; set model.system to ''"]
    return []


def text_problems(policy: Policy) -> list[str]:
    """Check that response tags and consecutive texts survive encode and decode."""
    problems = []
    lost = [
        tag
        for text in RESPONSES
        for tag in re.findall(r"</?\w+>", text)
        if tag not in policy.decode(encode(policy.tokenizer, [text])[0])
    ]
    if lost:
        tags = ", ".join(dict.fromkeys(lost))
        problems.append(
            f"the response tags {tags} do not come back from encode and decode, so that such responses are "
            "invalid; declare them as ordinary tokens (special: false in tokenizer.json and "
            "tokenizer_config.json)"
        )
    whole = f"{REPLY}\n{TURN}"
    parts = [i for ids in policy.encode([REPLY, f"\n{TURN}"]) for i in ids]
    joined = policy.decode(parts)
    if joined != whole:
        problems.append(
            f"a text that continues another comes back as {joined!r} in place of {whole!r}; choose a model "
            "whose tokenizer gives back what it reads, such as a byte-level one"
        )
    return problems


CHECKS: dict[str, Callable[[Policy], list[str]]] = {
    "full attention in every layer": lambda policy: window_problems(policy.model.config),
    "a row of the embeddings for every token": vocabulary_problems,
    "play and scoring give the model's own log-probabilities on short rows": number_problems,
    "a response has one end": end_problems,
    "two turns through the chat template": template_problems,
    "response tags and texts through encode and decode": text_problems,
}
"""Every check by the sentence that describes it."""


def model_problems(policy: Policy) -> dict[str, list[str]]:
    """Return the problems of a policy by check, in the order of `CHECKS`; an empty list means none."""
    return {name: check(policy) for name, check in CHECKS.items()}


def _text(policy: Policy, ids: Sequence[int]) -> str:
    """The text of a row, with its control tokens."""
    return str(policy.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _takes_prompts_without_system(prompt_format: PromptFormat) -> bool:
    bare = PromptFormat(prompt_format.tokenizer, True, "", prompt_format.template_args)
    try:
        bare.first_ids(FIRST)
    except TemplateError:
        return False
    return True
