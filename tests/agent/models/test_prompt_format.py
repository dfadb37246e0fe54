"""Prompt formats: rows of ids that only grow."""

import tarfile
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from stepopsd_agent.models.policy import Policy
from stepopsd_agent.models.prompt_format import PromptFormat, make_format
from tests.helpers.models import tiny

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_policy() -> Policy:
    """The tiny model with a template of the common shape."""
    policy = tiny()
    policy.tokenizer.chat_template = CHATML
    return policy


def test_plain_rows_are_the_text_itself() -> None:
    """Plain format: prompt, response, end token, next turn; nothing is added or lost."""
    form = make_format(tiny(), "off", "", False)
    ids = [
        *form.first_ids("room\n> "),
        *form.policy.encode(["look"])[0],
        0,
        *form.turn_ids("\nagain\n> ", closed=True),
    ]
    assert form.policy.tokenizer.decode(ids) == "room\n> look<|end|>\nagain\n> "


def test_plain_turn_closes_a_cut_response() -> None:
    """A response that ran into the length limit is closed before the next turn."""
    form = make_format(tiny(), "off", "", False)
    assert form.turn_ids("\nx\n> ", closed=False)[0] == 0
    assert form.turn_ids("\nx\n> ", closed=False)[1:] == form.turn_ids("\nx\n> ", closed=True)


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_chat_rows_spell_the_template(system: str) -> None:
    """Ids that grow turn by turn read as the template's rendering of the whole conversation."""
    form = make_format(chat_policy(), "auto", system, False)
    response = form.policy.encode(["look"])[0]
    ids = [*form.first_ids("room\n> "), *response, 0, *form.turn_ids("\nagain\n> ", closed=True)]
    head = [{"role": "system", "content": system}] if system else []
    whole = form.policy.tokenizer.apply_chat_template(
        [
            *head,
            {"role": "user", "content": "room"},
            {"role": "assistant", "content": "look"},
            {"role": "user", "content": "again"},
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert form.policy.tokenizer.decode(ids) == whole


def test_make_format_on_without_template_says_so() -> None:
    """chat=on needs a template."""
    with pytest.raises(ValueError, match="no chat template"):
        make_format(tiny(), "on", "", False)


def test_qwen3_turns_extend_the_row_although_its_template_does_not(test_data: Path, tmp_path: Path) -> None:
    """Qwen3 renders earlier turns differently later on; our rows keep what was sampled."""
    with tarfile.open(test_data / "tokenizers" / "qwen3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen3")
    policy = tiny()
    policy.tokenizer = tokenizer
    form = PromptFormat(policy, chat=True, system="", template_args=(("enable_thinking", False),))
    response = "<think>\nmaybe the fridge\n</think>\n\ngo to fridge 1"
    row = [*form.first_ids("room\n> "), *policy.encode([response + "<|im_end|>"])[0]]
    grown = [*row, *form.turn_ids("\nYou arrive.\n> ", closed=True)]
    text = tokenizer.decode(grown)
    assert grown[: len(row)] == row
    assert "maybe the fridge" in text  # a re-rendering would have dropped the thought
    assert str(text).endswith(
        "go to fridge 1<|im_end|>\n<|im_start|>user\nYou arrive.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
