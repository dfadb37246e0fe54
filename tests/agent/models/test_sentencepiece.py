"""Tokenizers that put a blank before what begins, as sentencepiece's do: rows are as whole conversations."""

import json
from dataclasses import replace
from typing import Literal

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from stepopsd_agent.models import Policy, make_format
from stepopsd_agent.models.self_check import end_problems, template_problems, text_problems
from stepopsd_agent.run.scored_records import with_tokens_of_text
from tests.helpers.models import tiny
from tests.helpers.text_env import make_episode

Kind = Literal["legacy", "first", "always", "never"]
KINDS: tuple[Kind, ...] = ("legacy", "first", "always", "never")
WORDS = "USER: look in the room ASSISTANT: Hello there, go to shelf 1 [INST] second room [/INST] <action>"
TEMPLATES = {
    "vicuna": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content + ' ' }}"
        "{% elif m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
        "{% else %}{{ 'ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "mistral v0.1": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ m.content + eos_token + ' ' }}{% endif %}{% endfor %}"
    ),
    "mistral v0.2": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ ' [INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama 2": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
}


def tokenizer_of(kind: Kind, template: str = "") -> PreTrainedTokenizerBase:
    """A tokenizer like Llama 2's: "legacy" with a normalizer, the others with a scheme of `Metaspace`."""
    special = ["<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=[*map(chr, range(33, 127)), "▁"],
        show_progress=False,
    )
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    made.train_from_iterator([WORDS] * 3, trainer)
    content = json.loads(made.to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    content["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(content))
    if kind == "legacy":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
    strip = [decoders.Strip(" ", 1, 0)] if kind != "never" else []
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    if template:
        tokenizer.chat_template = TEMPLATES[template]
    return tokenizer


def policy_of(tokenizer: PreTrainedTokenizerBase) -> Policy:
    """A tiny model that has a row for every token."""
    model = tiny().model
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return Policy(model, tokenizer)


@pytest.mark.parametrize(
    ("template", "system"),
    [*((name, "") for name in TEMPLATES), ("vicuna", "A chat."), ("zephyr", "A chat.")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_ids_of_the_whole_conversation(kind: Kind, template: str, system: str) -> None:
    """Three turns, their responses ended by the model or cut at the limit."""
    tokenizer = tokenizer_of(kind, template)
    form = make_format(tokenizer, "on", system)
    talk = ["first room", "Hello there", "second room", "<action>go</action>", "the third"]
    roles = ("user", "assistant")
    messages = [{"role": roles[k % 2], "content": text} for k, text in enumerate(talk)]
    head = [{"role": "system", "content": system}] if system else []
    whole = tokenizer.apply_chat_template([*head, *messages], add_generation_prompt=True, return_dict=False)
    blank = template == "llama 2"  # before the end of a response
    for closed in (True, False):
        row = form.first_ids(f"{talk[0]}\n> ")
        for reply, turn in zip(talk[1::2], talk[2::2], strict=True):
            ids = form.response_ids(reply)
            row += ids if closed else ids[: -1 - blank]
            row += form.turn_ids(f"\n{turn}\n> ", closed)
        assert row == whole, tokenizer.convert_ids_to_tokens(row)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_rows_read_as_the_text_itself(kind: Kind) -> None:
    """Neither responses nor turns begin with a blank of the tokenizer's own."""
    tokenizer = tokenizer_of(kind)
    form = make_format(tokenizer, "off")
    row = [*form.first_ids("room\n> "), *form.response_ids("look")[:-1]]
    assert tokenizer.decode(row) == "room\n> look"
    parts = [part for ids in form.text_ids(["look", "\nthere [INST]", " at </s>."]) for part in ids]
    assert tokenizer.decode(form.first_ids("room\n") + parts) == "room\nlook\nthere [INST] at </s>."
    assert tokenizer.eos_token_id not in parts


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_self_check_passes_what_is_right(kind: Kind, template: str) -> None:
    """A blank of the tokenizer's own is no reason to refuse a model: rows have it where templates have."""
    policy = policy_of(tokenizer_of(kind, template))
    assert [check(policy) for check in (end_problems, template_problems, text_problems)] == [[], [], []]


@pytest.mark.parametrize("template", ["vicuna", "zephyr"])
@pytest.mark.parametrize("kind", KINDS)
def test_actions_of_records_of_text_are_found(kind: Kind, template: str) -> None:
    """Whether or not the template writes a blank before a response."""
    policy = policy_of(tokenizer_of(kind, template))
    episode = make_episode(num_steps=1)
    first, last = episode.steps
    said = "<think>there</think><action>go to shelf 1</action>"
    episode = replace(episode, steps=(first, replace(last, response=said)))
    tokens = with_tokens_of_text(policy, episode, "tags").steps[1].tokens
    assert tokens is not None
    start, end = tokens.action_span
    shown = policy.decode(tokens.sampled_ids[start:end]).strip()
    assert "go to shelf 1" in shown and len(shown) <= len(
        "n>go to shelf 1</"
    )  # tokens at its ends may hold more
