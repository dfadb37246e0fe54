"""A sentence encoder small enough to make in a test."""

from pathlib import Path
from typing import Any


def make_model(folder: Path, pooling: str = "mean", seed: int = 0, **options: Any) -> Path:
    """A tiny BERT with random weights, as sentence-transformers saves models."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    words = "[PAD] [UNK] [CLS] [SEP] [MASK] : query passage red fox blue sea".split()
    words += [chr(c) for c in range(97, 123)] + [f"##{chr(c)}" for c in range(97, 123)]
    bare = folder / "bare"
    bare.mkdir(parents=True)
    (bare / "vocab.txt").write_text("\n".join(words))
    (bare / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    config = BertConfig(
        vocab_size=len(words),
        max_position_embeddings=64,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(bare)
    AutoTokenizer.from_pretrained(bare).save_pretrained(bare)
    model = SentenceTransformer(
        modules=[Transformer(str(bare)), Pooling(16, pooling)], device="cpu", **options
    )
    model.save(str(folder / "model"))
    return folder / "model"
