"""Tables of `benchmarks.report` about the learner."""

from benchmarks.report.parts import Result, origin


def rescoring(result: Result) -> list[str]:
    """Trees beside a row per step."""
    lines = [
        "| hindsight | its tokens | tokens of rows | of trees | times fewer | times less time |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("correctness_inline", "peer_inline"):
        row = result[name]
        lines.append(
            f"| {name.replace('_', ', ')} | {row['hindsight_tokens']} | {row['tokens']['row_per_step']:,} | "
            f"{row['tokens']['tree']:,} | {row['fewer_tokens']} | {row['less_time']} |"
        )
    one = result["correctness_inline"]
    return [
        *lines,
        "",
        f"Episodes of {result['steps_per_episode']} steps and {result['tokens_per_episode']} tokens, "
        f"{result['tokens_per_pass']} tokens per pass. Log-probs of trees and rows differ by at most "
        f"{one['largest_difference']:.1e} in float32 (as do packed and padded rows: "
        f"{one['rows_packed_against_padded']:.1e}), by {result['float64_difference']:.0e} in float64. As a "
        f"prefix: {result['correctness_prefix']['over_plain']} times a plain pass for teacher and student. "
        f"{origin(result)}",
    ]


def ratios(result: Result) -> list[str]:
    """One way beside another, measured briefly."""
    rows = [f"| {name} | {ratio} |" for name, ratio in result["ratios"].items()]
    return ["| times as fast | ratio |", "|---|---|", *rows, "", origin(result)]


def decoding(result: Result) -> list[str]:
    """The built-in decoder beside a cache that is copied and generate."""
    lines = [
        "| model | response | rows | turns | tokens/s | copied cache | `generate` | times copied "
        "| times `generate` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = [(name, kind, row) for name, kinds in result["models"].items() for kind, row in kinds.items()]
    for name, kind, row in rows:
        speeds = " | ".join(
            f"{row['tokens_per_s'][way]:,.0f}" if way in row["tokens_per_s"] else ""
            for way in ("built_in", "concatenated", "generate")
        )
        times = " | ".join(str(row["times"].get(way, "")) for way in ("concatenated", "generate"))
        sizes = " to ".join(map(str, dict.fromkeys(row["response"])))
        sizes += ", episodes" * (kind == "episodes")
        lines.append(f"| {name} | {sizes} | {row['rows']} | {row['turns']} | {speeds} | {times} |")
    equal = min(share for *_, row in rows for share in row["equal"].values())
    played = ", in episodes of ALFWorld at 1," * any(kind == "episodes" for _, kind, _ in rows)
    return [
        *lines,
        "",
        "The ratios count, as other work shares the machine. The copied cache is that of transformers, "
        "in rows padded to the longest that are read until the last response ends; `generate` reads the "
        "conversation anew in every turn. At "
        f"temperature 0{played} at least {equal:.1%} of the tokens are equal. "
        f"{origin(result)}",
    ]


def decoder_before(result: Result) -> list[str]:
    """The built-in decoder beside that of an earlier version."""
    lines = [
        "| model | rows | step limit | rounds | tokens/s | earlier | times | of rollouts | same tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = [(name, row) for name, measured in result["models"].items() for row in measured]
    for name, row in rows:
        speeds = " | ".join(f"{row['tokens_per_s'][version]:,.0f}" for version in ("now", "before"))
        times = " | ".join(str(row["times"][part]) for part in ("decoder", "rollout"))
        equal = "yes" if row["equal"] else "no"
        place = f"{row['rows']} | {row['steps']} | {row['rounds']}"
        lines.append(f"| {name} | {place} | {speeds} | {times} | {equal} |")
    return [
        *lines,
        "",
        f"Episodes of ALFWorld at temperature 1; the earlier version is commit {result['before'][:12]}. A "
        "whole rollout has the environments and the records beside the decoder. Where tokens differ, "
        "rounding decided between two, and the rest of an episode is another. "
        f"{origin(result)}",
    ]


def processes(result: Result) -> list[str]:
    """Two processes beside one."""
    names = {"wall_s": "whole update", "rollout_s": "play", "score_s": "scoring", "update_s": "gradients"}
    rows = [
        f"| {sharding} | {' | '.join(f'{ratio[name]:.2f}' for name in names)} | {ratio['cpu_s']:.2f} | "
        f"{result['difference']['weights'][sharding]:.0e} |"
        for sharding, ratio in result["ratio"].items()
    ]
    return [
        f"| `learner.sharding` | {' | '.join(names.values())} | CPU of the busier one | weights differ by |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Seconds of two processes (gloo, one thread each) over those of one; medians of "
        f"{result['pairs']} updates in turn; weights after the last. {origin(result)}",
    ]


def ray_speed(result: Result) -> list[str]:
    """Actors beside each other."""
    rows = [f"| {name} | {speed:,.1f} |" for name, speed in result["steps_per_second"].items()]
    equal = ", ".join(f"{name} {share:.2%}" for name, share in result["equal_responses"].items())
    return [
        "| who plays | steps per second |",
        "|---|---|",
        *rows,
        "",
        f"Two actors play {result['times_one_actor']:.2f} times as fast as one (target {result['target']}). "
        f"Responses equal to this process's: {equal}. {result['groups']} groups of "
        f"{result['group_size']}, one thread each. {origin(result)}",
    ]


def updates(result: Result) -> list[str]:
    """Ours beside TRL's."""
    lines = [
        "| | episodes per second | steps per episode | sampled tokens per step | thrown away |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {row['episodes_per_second']:.2f} | {row['steps_per_episode']} | "
            f"{row['sampled_tokens_per_step']} | {row['thrown_away']:.1%} |"
        )
    return [
        *lines,
        "",
        f"{result['times_environment_factory']} and {result['times_rollout_func']} times TRL "
        f"{result['trl']}; {result['tasks']} groups of {result['group_size']}, one thread, seconds of CPU. "
        f"{origin(result)}",
    ]


def endurance(result: Result) -> list[str]:
    """Memory, and resumes."""
    grown, killed = result["memory"], result["killed"]
    return [
        f"{grown['updates']} updates of {grown['episodes']:,} episodes: {grown['growth_mib']} MiB more in "
        f"the last quarter than in the second, of {grown['last_quarter_mib']:.0f}. {killed['kills']} times "
        f"SIGKILL, each time resumed: {len(killed['differing'])} differences from the run left alone. "
        f"{origin(result)}"
    ]


def served(result: Result) -> list[str]:
    """A served model whose server is killed."""
    left, resumed, usage = result["left"], result["resumed"], result["usage"]
    return [
        f"SmolLM2-135M-Instruct behind `transformers serve` plays {result['games']} games of "
        f"{result['step_limit']} steps, up to {result['most_under_way']} requests under way. SIGKILL of the "
        f"server after {result['killed_after_steps']} steps: {left['whole']} games whole, {left['failed']} "
        f"recorded as failed, {left['not_begun']} not begun. Resumed: {resumed['whole']} whole, "
        f"{resumed['errors']} errors, {resumed['kept']} of the {left['whole']} as they were; "
        f"{usage['prompt_tokens']:,} prompt and {usage['completion_tokens']:,} response tokens in "
        f"{result['wall_s'] / 60:.1f} minutes. {origin(result)}"
    ]


def gpu_update(result: Result) -> list[str]:
    """A published shape on a card."""
    memory = "not counted" if result["memory_of_plan"] is None else f"{result['memory_of_plan']:.1%}"
    return [
        f"{result['model']}, {result['episodes']} episodes of {result['lengths']['steps']:.0f} steps: update "
        f"at {result['share_of_matmul_rate']:.1%} of {result['matmul_tflops']:,.0f} TFLOP/s, scoring in "
        f"{result['teacher_of_update']:.1%} of its time, memory {memory} of the plan. {origin(result)}"
    ]


def path_of_an_update(result: Result) -> list[str]:
    """Files and functions of one `Trainer.step`."""
    return [
        f"One update with {result['method']} runs through {result['files']} files of the learner and the "
        f"wrappers, {result['functions']} functions. {origin(result)}"
    ]


def fixed_run(result: Result) -> list[str]:
    """Hashes of short runs."""
    hashes = result["hashes"]
    return [
        f"Metrics, episodes, weights of short runs with {', '.join(sorted(hashes))}, made with the code of "
        f"commit {result['checkout'][:12]}: `--check` compares any later checkout with these "
        f"{3 * len(hashes)} hashes, on the same kind of processor. {origin(result)}"
    ]
