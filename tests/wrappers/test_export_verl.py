"""Rows that ``stepopsd export --to verl`` writes, read by the data set class of verl itself."""

from pathlib import Path
from typing import Any

import pytest

from stepopsd_wrappers.chat_export import verl_rows, write_jsonl
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
