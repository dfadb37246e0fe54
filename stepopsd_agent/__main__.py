"""The start of the ``stepopsd`` command and of ``python -m stepopsd_agent``."""

import signal


def main() -> int:
    """Run one command and return its exit code.

    Loading it takes a second, in which there is nothing to keep and nothing to say: Ctrl-C then ends the
    process as the system does, and a shell gives 130. Where Ctrl-C is ignored, it stays so.
    """
    loud = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loud:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stepopsd_agent.cli.main import main as command

    if loud:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
