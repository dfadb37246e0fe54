"""Errors in the set-up of retrieval, before a search begins."""


class RetrievalSetupError(ValueError):
    """A corpus, an index or a model is missing or cannot be used; the message says what to do."""


class CorpusError(RetrievalSetupError):
    """A corpus cannot be read; the message names file and line."""


class IndexFolderError(RetrievalSetupError):
    """A folder is not the expected index, or an index cannot be built with these settings."""


class IndexingError(RetrievalSetupError):
    """A program that builds or downloads an index failed; the message has its last output or points to it."""


class ModelNotFoundError(RetrievalSetupError):
    """The model of an encoder cannot be loaded."""


class WrongModelError(RetrievalSetupError):
    """The loaded model is not the one that built the index."""
