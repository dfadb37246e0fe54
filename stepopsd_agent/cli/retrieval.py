"""``stepopsd index`` and ``stepopsd serve-retriever``: indexes of corpora, and a server for one."""

import os
import sys
from contextlib import ExitStack
from typing import NoReturn

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.run.progress import Progress, progress
from stepopsd_envs.search_qa.retrieval.index import build_index, prebuilt_index
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings, Means

SERVER = "stepopsd_envs.search_qa.retrieval.server"


def run_index(settings: Namespace) -> int:
    """Build an index, or finish one that was stopped."""
    if (settings.corpus is None) == (settings.prebuilt is None):
        raise UsageError("give either a corpus file or --prebuilt NAME")
    if settings.prebuilt is not None:
        if settings.kind not in (None, "lucene"):
            raise UsageError(f"prebuilt indexes are of kind lucene; leave out --kind {settings.kind}")
        manifest = prebuilt_index(settings.prebuilt, settings.out, settings.k1, settings.b)
    else:
        means = Means(settings.threads, settings.device, bfloat16=settings.bfloat16)
        if settings.threads is not None:
            _use_threads(settings.threads)
        with _Bars() as bars:
            manifest = build_index(settings.corpus, settings.out, _wanted(settings), means, bars.report)
    print(f"{manifest.kind} index of {manifest.corpus.passages:,} passages: {settings.out}")
    print(f"serve it with: stepopsd serve-retriever {settings.out}")
    return 0


def run_serve(settings: Namespace) -> NoReturn:
    """Become the server: it needs none of what this process has loaded, and hears signals itself."""
    flags = [word for name, value in settings.items() if name != "source" for word in _flag(name, value)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", SERVER, settings.source, *flags])


def _flag(name: str, value: object) -> tuple[str, ...]:
    return () if value is None else (f"--{name}={value}",)


def _wanted(settings: Namespace) -> IndexSettings:
    return IndexSettings(
        settings.kind or "bm25",
        settings.k1,
        settings.b,
        settings.model,
        settings.search,
        settings.dense_weight,
        settings.query_prefix,
        settings.passage_prefix,
    )


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


class _Bars(ExitStack):
    """A progress bar for each thing that is done, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._what = ""
        self._bar: Progress | None = None

    def report(self, what: str, done: int, total: int | None) -> None:
        """Advance the bar of what is being done; another thing begins another bar."""
        if self._bar is None or what != self._what:
            self.pop_all().close()
            self._what, self._bar = what, self.enter_context(progress(total, what, unit="passage"))
        self._bar.advance(done)
