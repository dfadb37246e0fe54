"""Tables of `benchmarks.report` about records."""

from benchmarks.report.parts import Result, origin


def recording(result: Result) -> list[str]:
    """Recorders beside each other, and the share of a rollout."""
    lines = [
        "| | steps per second | microseconds per step | bytes per step |",
        "|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {row['steps_per_second']:,} | {row['microseconds_per_step']} | "
            f"{row['bytes_per_step']:,} |"
        )
    one = result["rollout"]
    return [
        *lines,
        "",
        f"{result['steps']:,} steps of random commands each, seconds of CPU; Minari {result['minari']}, "
        f"pyarrow {result['pyarrow']}. In a rollout of {one['steps']:,} steps by a model of "
        f"{one['parameters']:,} parameters recording takes {one['share']:.1%}. {origin(result)}",
    ]


def kills(result: Result) -> list[str]:
    """What is left when the recorder is killed."""
    return [
        f"{result['kills']} times SIGKILL at random moments, {result['killed_while_writing']} of them while "
        f"an episode was written: of {result['episodes']:,} episodes {result['missing']} are missing, "
        f"{result['foreign']} do not belong there, {result['replays_that_differ']} replays differ. "
        f"{origin(result)}"
    ]
