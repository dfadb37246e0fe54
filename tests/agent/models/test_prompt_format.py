"""Prompt formats: rows of ids that only grow."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from benchmarks.archives import unpack
from stepopsd_agent.models import Policy, make_format
from stepopsd_agent.models.prompt_format import encode
from tests.helpers.models import tiny

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_tokenizer() -> PreTrainedTokenizerBase:
    """The tiny model's tokenizer with a template of the common shape."""
    tokenizer = tiny().tokenizer
    tokenizer.chat_template = CHATML
    return tokenizer


def test_plain_rows_are_the_text_itself() -> None:
    """Plain format: prompt, response, end token, next turn; nothing is added or lost."""
    tokenizer = tiny().tokenizer
    prompt_format = make_format(tokenizer, "off")
    ids = [
        *prompt_format.first_ids("room\n> "),
        *encode(tokenizer, ["look"])[0],
        0,
        *prompt_format.turn_ids("\nagain\n> ", closed=True),
    ]
    assert tokenizer.decode(ids) == "room\n> look<|end|>\nagain\n> "


def test_plain_turn_closes_a_cut_response() -> None:
    """A response that ran into the length limit is closed before the next turn."""
    prompt_format = make_format(tiny().tokenizer, "off")
    cut, closed = (prompt_format.turn_ids("\nx\n> ", closed=closed) for closed in (False, True))
    assert cut == [0, *closed]


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_chat_rows_spell_the_template(system: str) -> None:
    """Ids that grow turn by turn read as the template's rendering of the whole conversation."""
    tokenizer = chat_tokenizer()
    prompt_format = make_format(tokenizer, "auto", system)
    turn = prompt_format.turn_ids("\nagain\n> ", closed=True)
    ids = [*prompt_format.first_ids("room\n> "), *encode(tokenizer, ["look"])[0], 0, *turn]
    head = [{"role": "system", "content": system}] if system else []
    whole = tokenizer.apply_chat_template(
        [
            *head,
            {"role": "user", "content": "room"},
            {"role": "assistant", "content": "look"},
            {"role": "user", "content": "again"},
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert tokenizer.decode(ids) == whole


def test_make_format_on_without_template_says_so() -> None:
    """chat=on needs a template."""
    with pytest.raises(ValueError, match="no chat template"):
        make_format(tiny().tokenizer, "on")


def test_make_format_auto_follows_the_tokenizer() -> None:
    """A template is used where there is one; "off" does without; a policy has the format of its tokenizer."""
    plain, chat = tiny().tokenizer, chat_tokenizer()
    assert not make_format(plain).chat and make_format(chat).chat and not make_format(chat, "off").chat
    policy = tiny()
    assert policy.prompt_format.tokenizer is policy.tokenizer and not policy.prompt_format.chat
    assert Policy(policy.model, chat).prompt_format.chat


def test_qwen3_turns_extend_the_row_although_its_template_does_not(test_data: Path, tmp_path: Path) -> None:
    """Qwen3 renders earlier turns differently later on; our rows keep what was sampled."""
    unpack(test_data / "tokenizers" / "qwen3.tar.xz", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen3")
    prompt_format = make_format(tokenizer, "on", enable_thinking=False)
    response = "<think>\nmaybe the fridge\n</think>\n\ngo to fridge 1"
    row = [*prompt_format.first_ids("room\n> "), *encode(tokenizer, [response + "<|im_end|>"])[0]]
    grown = [*row, *prompt_format.turn_ids("\nYou arrive.\n> ", closed=True)]
    text = tokenizer.decode(grown)
    assert grown[: len(row)] == row
    assert "maybe the fridge" in text  # a re-rendering would have dropped the thought
    assert str(text).endswith(
        "go to fridge 1<|im_end|>\n<|im_start|>user\nYou arrive.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
