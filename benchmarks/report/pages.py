"""Pages for people, made from the measurements in ``benchmarks/results`` and from docstrings.

python -m benchmarks.report            # docs/benchmarks.md, docs/credit-methods.md, the table in README.md
python -m benchmarks.report --check    # exit 1 when one of them is not what results and docstrings say
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import credit_methods
from benchmarks.report.credit import accuracy
from benchmarks.report.credit_pages import PAGES as CREDIT_PAGES, with_table, with_tables
from benchmarks.report.demo import credits, curves
from benchmarks.report.learner import (
    decoder_before,
    decoding,
    endurance,
    fixed_run,
    gpu_update,
    path_of_an_update,
    processes,
    ratios,
    ray_speed,
    rescoring,
    served,
    updates,
)
from benchmarks.report.parts import Result, origin, percent, rate
from benchmarks.report.records import kills, recording
from benchmarks.report.stable_baselines import stable_baselines

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, README = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
SB3 = ROOT / "docs" / "stable-baselines3.md"
SPEED = re.compile(r"(<!-- speed:.*?-->\n).*?(<!-- end of speed -->)", re.DOTALL)


def comparison(result: Result) -> list[str]:
    """Agents and their success, and what the run took."""
    names = list(result["rows"])
    lines = ["| agent | success (95 % interval) | games |", "|---|---|---|"]
    lines += [f"| {name} | {rate(result['rows'][name])} | {result['rows'][name]['n']} |" for name in names]
    lines += ["", f"Seed {result['seed']}, {result['wall_s'] / 60:.1f} minutes in all. {origin(result)}"]
    return lines + (["", result["note"]] if result.get("note") else [])


def demonstration(result: Result) -> list[str]:
    """Agents, then curves and credit where the result has them."""
    return [*comparison(result), *curves(result), *credits(result)]


def searchqa(result: Result) -> list[str]:
    """Questions that take one search, and those that take two beside them."""
    lines = ["| agent | one search (95 % interval) | two searches | questions |", "|---|---|---|---|"]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | {rate(row)} | {rate(result['rows_2-hop'][name])} | {row['n']} |")
    return [
        *lines,
        "",
        f"Seed {result['seed']}, {result['wall_s'] / 60:.1f} minutes in all. {origin(result)}",
    ]


def real_questions(result: Result) -> list[str]:
    """Exact match by set and agent; questions that ended in an error, where some did."""
    agents, errors = list(result["rows"]), ["errors"] if result["errors"] else []
    heads = [*agents, *errors]
    lines = [f"| set | questions | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for name, row in result["rows"][agents[0]].items():
        found = [result["rows"][agent][name] for agent in agents]
        cells = [percent(one["success"] if one["n"] else None) for one in found]
        cells += [str(sum(one["errors"] for one in found)) for _ in errors]
        lines.append(f"| {name} | {row['n']} | {' | '.join(cells)} |")
    means = [*(percent(result["means"][agent]) for agent in agents), *("" for _ in errors)]
    lines += [f"| mean of the sets | | {' | '.join(means)} |", ""]
    biased = f"Only questions that one retrieval system has answered: {', '.join(result['biased'])}. "
    return [*lines, f"{biased if result['biased'] else ''}{origin(result)}"]


def parity(result: Result) -> list[str]:
    """Steps that answered as the original did."""
    return [
        f"{result['steps_identical']} of {result['steps']} steps and {result['resets_identical']} of "
        f"{result['games']} opening texts are identical to the transcripts of the original. {origin(result)}"
    ]


def golden(result: Result) -> list[str]:
    """Credit beside the original authors' values."""
    return [
        f"{len(result['differences'])} of {result['names']} names compared on {result['batches']} batches; "
        f"largest difference {result['largest_difference']:.1e}, "
        f"allowed {result['tolerance']:.0e}. {origin(result)}"
    ]


def houses(result: Result) -> list[str]:
    """Generated houses beside official ones."""
    lines = ["| per game | official | generated, tier `full` | distance | between halves of the official |"]
    lines += ["|---|---|---|---|---|"]
    for name, row in result["figures"].items():
        cells = [f"{row[kind]['mean']:.1f} ± {row[kind]['sd']:.1f}" for kind in ("official", "full")]
        cells += [f"{row[kind]:.3f}" for kind in ("distance", "between_halves")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"{result['games']:,} games of each; distance: largest gap of the distribution functions."]
    return [*lines, f"Target: at most {result['target']:.2f}. {origin(result)}"]


def index(result: Result) -> list[str]:
    """Listing the games of a split."""
    return [
        f"{result['games']:,} games of {result['split']} are indexed in {result['indexed_s']:.2f} s and then "
        f"opened by another process in {1e3 * result['opened_s']:.0f} ms, again in the same one in "
        f"{1e3 * result['opened_again_s']:.0f} ms. {origin(result)}"
    ]


def speed(result: Result) -> list[str]:
    """The environment beside TextWorld."""
    rows = [
        ("steps per second through gym.make, one core, resets included", f"{result['steps_per_s']:,.0f}"),
        ("the same with oracle=True", f"{result['oracle_steps_per_s']:,.0f}"),
        ("steps per second of 128 games in one process", f"{result['vector_steps_per_s']:,.0f}"),
        ("warm reset", f"{result['warm_reset_ms']:.2f} ms"),
        ("first load of a game", f"{result['first_load_ms']:.1f} ms"),
        (f"memory of {result['loaded_games']:,} loaded games", f"{result['memory_mb']:.0f} MB"),
        (f"growth over {result['growth_steps']:,} random steps", f"{result['growth_mb']:.1f} MB"),
        ("optimal distance of a state, median", f"{result['distance_ms']:.3f} ms"),
    ]
    if result["textworld"] == "installed":
        rows += [
            ("TextWorld: steps per second", f"{result['textworld_steps_per_s']:.1f}"),
            ("TextWorld: load of a game", f"{result['textworld_load_s']:.2f} s"),
            ("TextWorld: reset", f"{result['textworld_reset_s']:.2f} s"),
            ("times TextWorld's speed on the same games and commands", f"{result['textworld_ratio']:,.0f}"),
        ]
    lines = ["| what | measured |", "|---|---|", *(f"| {name} | {figure} |" for name, figure in rows)]
    return [*lines, "", f"Seconds of CPU, as other work may share the machine. {origin(result)}"]


def oracle(result: Result) -> list[str]:
    """Known optimal play."""
    return [
        f"The oracle wins {result['official_won']:,} of {result['official_games']:,} official games in "
        f"{result['official_commands']:,} commands (their walkthroughs take "
        f"{result['official_walkthrough_commands']:,}) and {result['generated_won']:,} of "
        f"{result['generated_games']:,} generated ones in {result['generated_commands']:,} "
        f"({result['generated_walkthrough_commands']:,}). {result['small_games_equal']} of "
        f"{result['small_games']} small games agree with breadth-first search in all of "
        f"{result['small_states']:,} states. {origin(result)}"
    ]


def differential(result: Result) -> list[str]:
    """Random play on both engines."""
    return [
        f"{result['official']} official and {result['generated']} generated games, {result['commands']:,} "
        f"commands, odd ones among them: {len(result['differences'])} differences. {origin(result)}"
    ]


def fuzz(result: Result) -> list[str]:
    """Nonsense as commands and as files."""
    outcomes = result["files"]["outcomes"]
    return [
        f"{result['actions']['actions']:,} random commands: {len(result['actions']['found'])} problems. "
        f"{result['files']['files']} damaged game files: {outcomes['refused']} refused by name and field, "
        f"{outcomes.get('another game', 0)} read as a game with another hash, "
        f"{len(result['files']['found'])} problems. {origin(result)}"
    ]


def determinism(result: Result) -> list[str]:
    """One seed, one result."""
    return [
        f"{result['steps']:,} steps under hash seeds {', '.join(result['hash_seeds'])} and "
        f"{', '.join(result['pythons'])}: {'one hash' if result['same'] else 'DIFFERENT hashes'}. "
        f"{origin(result)}"
    ]


SECTIONS: tuple[tuple[str, str, Callable[[Result], list[str]]], ...] = (
    ("Generated houses (`make demo`)", "demo_seed*.json", demonstration),
    ("Official games", "official*.json", comparison),
    ("Questions about a made-up encyclopedia", "searchqa_demo_seed*.json", searchqa),
    ("The seven question sets of the papers", "searchqa_real*.json", real_questions),
    ("Parity with the original engine", "alfworld_parity.json", parity),
    ("Random play on both engines", "alfworld_differential.json", differential),
    ("Speed of the environment", "env_speed.json", speed),
    ("Known optimal play", "oracle.json", oracle),
    ("Nonsense", "alfworld_fuzz.json", fuzz),
    ("One seed, one result", "alfworld_determinism.json", determinism),
    ("Generated houses beside official ones", "house_statistics.json", houses),
    ("Index of the official games", "data_index.json", index),
    ("Which credit is right", "credit_accuracy*.json", accuracy),
    ("Credit beside the original code", "credit_golden.json", golden),
    ("Hindsight scoring with shared prefixes", "rescore_cost.json", rescoring),
    ("The decoder", "decode_speed.json", decoding),
    ("The decoder beside an earlier one", "decode_before*.json", decoder_before),
    ("An update by two processes", "processes.json", processes),
    ("Groups played by Ray actors", "ray_speed.json", ray_speed),
    ("Ratios that `make bench` compares", "speed_ratios.json", ratios),
    ("Whole updates beside TRL", "update_speed.json", updates),
    ("Long runs and killed runs", "endurance.json", endurance),
    ("A served model whose server is killed", "served.json", served),
    ("What recording costs", "recording_cost.json", recording),
    ("The recorder, killed", "record_kills.json", kills),
    ("Files that an update runs through", "path_of_an_update.json", path_of_an_update),
    ("The same runs before and after a change", "fixed_run.json", fixed_run),
    ("The update on a GPU", "gpu_update.json", gpu_update),
    ("Algorithms of stable-baselines3", "sb3_learning.json", stable_baselines),
    ("SmolLM2-135M-Instruct on the official games", "gpu_training*.json", comparison),
)


def page() -> str:
    """The whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks.report` from `benchmarks/results`; commands as at their commits.",
        "",
    ]
    for title, pattern, write in SECTIONS:
        lines += [f"## {title}", ""]
        paths = sorted(RESULTS.glob(pattern))
        for path in paths:
            lines += [*write(json.loads(path.read_text(encoding="utf-8"))), ""]
        lines += [] if paths else ["Not measured yet.", ""]
    return "\n".join(lines)


def readme() -> str:
    """README.md with the newest tables of speed and of the finding."""
    result = json.loads((RESULTS / "env_speed.json").read_text(encoding="utf-8"))
    table = "\n".join(speed(result))
    text = SPEED.sub(lambda found: f"{found[1]}{table}\n{found[2]}", README.read_text(encoding="utf-8"))
    return with_tables(text)


def sb3_page() -> str:
    """docs/stable-baselines3.md with the newest table."""
    return with_table(SB3.read_text(encoding="utf-8"), "learning", "sb3_learning", stable_baselines)


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Make the pages of results and of credit methods.")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    pages = {PAGE: page(), README: readme(), credit_methods.PAGE: credit_methods.page()}
    pages |= {path: with_tables(path.read_text(encoding="utf-8")) for path in CREDIT_PAGES} | {
        SB3: sb3_page()
    }
    if parser.parse_args().check:
        same = all(path.exists() and path.read_text(encoding="utf-8") == text for path, text in pages.items())
        print("the pages are up to date" if same else "run python -m benchmarks.report", file=sys.stderr)
        return 0 if same else 1
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0
