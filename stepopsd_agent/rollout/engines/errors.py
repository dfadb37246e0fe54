"""What engines raise; it loads nothing, so that commands that need no engine can name it."""


class EngineError(RuntimeError):
    """An engine cannot do what was asked, or is gone; the message says what to do."""
