"""What is said of a checkpoint that cannot be used, without what reads one."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or the one on disk is incomplete or damaged."""
