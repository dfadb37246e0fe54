"""Rows that ``stepopsd export --to verl`` writes, read by the data set class of verl itself."""

from pathlib import Path
from typing import Any

import pytest

from stepopsd_wrappers.chat_export import verl_rows, write_jsonl
from stepopsd_wrappers.parquet_export import write_rows
from tests.helpers.text_env import make_episode

for package in ("verl", "omegaconf", "datasets"):
    pytest.importorskip(package, reason=f"{package}, which verl's data set needs, is not installed")


class _Tokenizer:
    """What the class asks of a tokenizer where no prompt is filtered."""

    pad_token_id = 0


def test_verl_s_data_set_reads_the_rows(tmp_path: Path) -> None:
    """Prompt, reward and origin of every episode come out as they were written."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    written = list(verl_rows([make_episode(num_steps=2), make_episode(num_steps=3)], "Play."))
    write_jsonl(written, tmp_path / "rows.jsonl")
    config = OmegaConf.create({"cache_dir": str(tmp_path / "cache"), "filter_overlong_prompts": False})
    tokenizer: Any = _Tokenizer()
    read = RLHFDataset(data_files=str(tmp_path / "rows.jsonl"), tokenizer=tokenizer, config=config)
    assert len(read) == 2
    for number, row in enumerate(written):
        found = read[number]
        assert found["raw_prompt"] == row["prompt"] and found["data_source"] == row["data_source"]
        assert found["reward_model"] == row["reward_model"] and found["extra_info"] == row["extra_info"]
        assert found["index"] == number


CHATML = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def _words(text: str) -> Any:
    """A tokenizer of transformers whose tokens are the words of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<system>", "<user>", "<assistant>", "<end>", *text.split()]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<unk>", chat_template=CHATML
    )


def test_verl_s_multi_turn_sft_trains_on_the_responses(tmp_path: Path) -> None:
    """Its mask selects what the agent wrote, and the end of each turn, of every episode."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    written = list(verl_rows([make_episode(num_steps=2), make_episode(num_steps=3)], "Play."))
    write_rows(written, tmp_path / "rows.parquet")
    tokenizer = _words(" ".join(one["content"] for row in written for one in row["messages"]))
    config = OmegaConf.create({"max_length": 200, "truncation": "error"})
    read = MultiTurnSFTDataset(str(tmp_path / "rows.parquet"), tokenizer, config)
    assert len(read) == 2
    for number, row in enumerate(written):
        found = read[number]
        said = [one["content"] for one in row["messages"] if one["role"] == "assistant"]
        learned = found["input_ids"][found["loss_mask"].bool()]
        assert tokenizer.decode(learned).split() == " <end> ".join([*said, ""]).split()
