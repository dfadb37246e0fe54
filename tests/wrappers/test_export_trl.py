"""Exported chats prepared by TRL's own trainer."""

from pathlib import Path
from typing import Any

from stepopsd_wrappers.chat_export import messages_of, sft_rows, write_jsonl
from tests.helpers.models import tiny
from tests.wrappers.test_export import package, played

TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"


def test_sft_chats_are_prepared_by_trl_s_trainer(tmp_path: Path) -> None:
    """Its data set holds the ids of every chat in the model's template, to the token."""
    datasets, trl = package("datasets"), package("trl")
    policy = tiny()
    tokenizer: Any = policy.tokenizer
    tokenizer.chat_template = TEMPLATE
    episodes = [played(k, num_steps=k + 1) for k in range(3)]
    path = tmp_path / "chats.jsonl"
    write_jsonl(sft_rows(episodes, "Play."), path)
    rows = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, max_length=None, bf16=False
    )
    trainer = trl.SFTTrainer(policy.model, settings, train_dataset=rows, processing_class=tokenizer)
    expected = [
        tokenizer.apply_chat_template(messages_of(episode, "Play."), tokenize=True, return_dict=False)
        for episode in episodes
    ]
    assert [list(row["input_ids"]) for row in trainer.train_dataset] == [list(ids) for ids in expected]
    assert len({len(ids) for ids in expected}) == 3
