"""The comparison with the original code's values, on a hand-worked file and on the real one if present."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.learner import credit_golden, golden_file


def content() -> list[dict[str, Any]]:
    """One group of a success with two steps and a failure with one; every value worked by hand below.

    Without deviation A = (1/2, -1/2); with it, sqrt(1/2) = 0.7071068 + 1e-6 divides them to 0.7071058.
    """
    steps = [
        {"episode": 1, "index": 0, "student_logprobs": [-2.0], "teacher_logprobs": [-1.0]},
        {"episode": 0, "index": 1, "student_logprobs": [-1.0], "teacher_logprobs": [-1.0]},
        {"episode": 0, "index": 0, "student_logprobs": [-1.0, -3.0], "teacher_logprobs": [-2.0, -1.0]},
    ]
    more: dict[str, Any] = {"n_obs": 1}
    place: list[dict[str, Any]] = [
        {"anchor": "S", "reward": 0.0},
        {"anchor": "B", "reward": 1.0},
        {"anchor": "S", "reward": 0.0},
    ]
    a = 0.7071058
    return [
        {
            "episodes": [{"group": 0, "episode_return": 1.0}, {"group": 0, "episode_return": 0.0}],
            "steps": [
                {**step, **more, **where, "old_logprobs": step["student_logprobs"]}
                for step, where in zip(steps, place, strict=True)
            ],
            "expected": {
                "drgrpo_episode_baseline": [[-0.5], [0.5], [0.5, 0.5]],
                "grpo_episode_baseline": [[-a], [a], [a, a]],
                # the failure's gap is 1 and so its weight 0.8; gaps 0, -1 and 2 give 1, 0.8 and 1.2
                "stepopsd_alpha0.2_lam1.0_sigmoid_none": [[-0.8 * a], [a], [0.8 * a, 1.2 * a]],
                # at ratio 1 the loss is -A: (a - a - 2a) / 4, a clip nowhere
                "ppo_clip_loss_eps0.2_dual3_token_mean_on_grpo_episode_baseline": -a / 2,
                # means of steps a, -a, -a and their sums a, -a, -2a
                "ppo_clip_loss_eps0.2_dual3_seq-mean-token-mean_row_per_step": -a / 3,
                "ppo_clip_loss_eps0.2_dual3_seq-mean-token-sum_row_per_step": -2 * a / 3,
                "ppo_clip_fraction": 0.0,
                # half the gaps: (1 + 0 - 1 + 2) / 2 / 4
                "grpo_opsd_loss_beta0_token_mean": 0.25,
                # two in a group: twice the distance from the mean
                "rloo_episode_baseline": [[-1.0], [1.0], [1.0, 1.0]],
                # 1/2 x3, -1/2: mean 1/4, deviation 1/2
                "reinforce_pp_baseline_episode": [[-1.5], [0.5], [0.5, 0.5]],
                # only the success was paid: 1 at its second step, 0.95 at its first
                "discounted_returns_g0.95": [0.0, 1.0, 0.95],
                # by step the mean return is 2/3; at anchor S the discounted ones are 0.95 and 0
                "gigpo_mean_norm_g0.95_w1": [[-2 / 3 - 0.475], [1 / 3], [1 / 3 + 0.475] * 2],
                "hgpo_K2_g0.95_alpha1": [[-1.0], [0.0], [1.0, 1.0]],
                # gaps 1 (failure), 0, -1 and 2: weights 0.8, 1, 0.8, 1.2, half of the change
                "rlsd_lam0.5_eps0.2_on_grpo_episode_baseline": [[-0.9 * a], [a], [0.9 * a, 1.1 * a]],
                # at beta 0 the gates are half open, as above
                "sdar_loss_beta0_token_mean": 0.25,
                # r = 1: e^g - 1 - g over gaps 1, 0, -1, 2
                "skillsd_loss_token_mean": (math.e - 2 + math.exp(-1) + math.exp(2) - 3) / 4,
                "median_baseline": 0.0,
            },
        }
    ]


def known() -> list[dict[str, Any]]:
    """The content without the name that nothing here computes."""
    golden = content()
    del golden[0]["expected"]["median_baseline"]
    return golden


def run(tmp_path: Path, golden: Any, *options: str) -> int:
    """The exit code for a file with this content."""
    path = tmp_path / "golden.json"
    path.write_text(golden if isinstance(golden, str) else json.dumps(golden))
    return credit_golden.main([str(path), *options])


def test_credit_golden_passes_on_hand_worked_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps come in any order."""
    out = tmp_path / "out.json"
    assert run(tmp_path, known(), "--json", str(out)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("compared 16 of 16 names on 1 batches, largest difference ")
    result = json.loads(out.read_text())
    assert result["largest_difference"] == float(max(result["differences"].values())) < 3e-6
    assert result["not_compared"] == []


@pytest.mark.parametrize("name", list(known()[0]["expected"]))
def test_credit_golden_fails_on_a_wrong_value(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each value is really compared."""
    golden = known()
    value = golden[0]["expected"][name]
    if isinstance(value, list) and isinstance(value[2], list):
        value[2][1] += 1e-4
    elif isinstance(value, list):
        value[2] += 1e-4
    else:
        golden[0]["expected"][name] = value + 1e-4
    assert run(tmp_path, golden) == 1
    assert f"{name} differs by" in capsys.readouterr().out


def test_credit_golden_sees_swapped_groups_a_flipped_sign_and_a_shifted_mask(tmp_path: Path) -> None:
    """Each on its own makes the comparison fail."""
    swapped = known()
    swapped[0]["episodes"].reverse()
    flipped = known()
    for step in flipped[0]["steps"]:
        step["student_logprobs"], step["teacher_logprobs"] = (
            step["teacher_logprobs"],
            step["student_logprobs"],
        )
    shifted = known()
    shifted[0]["steps"][2]["teacher_logprobs"].reverse()
    assert [run(tmp_path, golden) for golden in (swapped, flipped, shifted)] == [1, 1, 1]


def test_credit_golden_fails_when_a_name_is_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new method or variant must not pass unseen, be it the only one or one of many."""
    golden = content()
    assert run(tmp_path, golden) == 1
    assert "nothing here computes them: median_baseline" in capsys.readouterr().out
    golden[0]["expected"] = {}
    assert run(tmp_path, golden) == 1  # comparing nothing is no success


def test_credit_golden_fails_on_a_value_that_is_no_number(tmp_path: Path) -> None:
    """NaN is not within any tolerance."""
    golden = known()
    golden[0]["expected"]["ppo_clip_fraction"] = float("nan")
    assert run(tmp_path, golden) == 1


def without(key: str) -> list[dict[str, Any]]:
    """The content with a key of the first step taken away."""
    golden = content()
    del golden[0]["steps"][0][key]
    return golden


def expecting(name: str, value: Any) -> list[dict[str, Any]]:
    """The content with another expected value."""
    golden = content()
    golden[0]["expected"][name] = value
    return golden


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a list of batches"),
        ([[]], "batch 0 is malformed"),
        (without("n_obs"), "batch 0 is malformed (KeyError: 'n_obs')"),
        (expecting("x", "y"), "batch 0 is malformed"),
        (expecting("drgrpo_episode_baseline", [[0.5]]), "has 1 entries for 3 steps"),
        (
            expecting("drgrpo_episode_baseline", [[0.5], [0.5], [0.5]]),
            "a step of 2 tokens needs",
        ),
        (expecting("drgrpo_episode_baseline", 0.5), "must be a list"),
        (expecting("ppo_clip_fraction", [0.5, 0.5, 0.5]), "must be one number"),
    ],
)
def test_credit_golden_refuses_bad_files_in_one_line(
    golden: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what is wrong where."""
    assert run(tmp_path, golden) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_credit_golden_refuses_a_missing_file_and_an_output_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, naming the path."""
    assert credit_golden.main([str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json: No such file or directory" in capsys.readouterr().err
    assert run(tmp_path, content(), "--json", str(tmp_path / "no" / "out.json")) == 2
    assert "cannot write" in capsys.readouterr().err


def test_credit_equals_the_original_code(test_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All batches and all names, in both row layouts."""
    assert credit_golden.main([str(test_data / "credit-golden.json")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("compared 34 of 34 names on 12 batches, largest difference")


def test_double_precision_is_no_further_from_the_original_code(test_data: Path) -> None:
    """So what differs is the rounding of the values in the file."""
    goldens = golden_file.read(test_data / "credit-golden.json")
    exact = [
        golden_file.Golden(
            (one.layouts[0].to(dtype=torch.float64), one.layouts[1].to(dtype=torch.float64)),
            one.place,
            one.expected,
        )
        for one in goldens
    ]
    assert credit_golden.compare(exact)["largest_difference"] < credit_golden.TOLERANCE
