"""What can be wrong before a search begins."""


class RetrievalSetupError(ValueError):
    """A corpus, an index or a model is not there or not as it has to be; the message says what to do."""


class CorpusError(RetrievalSetupError):
    """A corpus cannot be read; the message names the file and the line."""


class IndexFolderError(RetrievalSetupError):
    """A folder is not the index that was asked for."""


class IndexingError(RetrievalSetupError):
    """A program that makes or fetches an index failed; the message has its last words."""


class ModelNotFoundError(RetrievalSetupError):
    """An encoder's model is not here."""


class WrongModelError(RetrievalSetupError):
    """The model at hand is not the one that made the vectors."""
