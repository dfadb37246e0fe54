"""Which environment, on which tasks, seen how: the sections ``env`` and ``eval`` of a run's settings."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class EnvConfig:
    """Which tasks, and how the agent sees them. A setting that the environment ``id`` lacks is refused.

    Attributes:
        id: Gymnasium id: stepopsd/ALFWorld-v0, stepopsd/SearchQA-v0, or one that takes the same arguments.
        games: ALFWorld: "generated", an official split (train, valid_seen, valid_unseen), a folder, or a
            file.
        data_root: ALFWorld: folder that holds the official splits; $ALFWORLD_DATA when absent.
        engine: ALFWorld: "native", or "textworld": the original packages, slow, with the same answers.
        tier: size of generated houses, or of the synthetic encyclopedia.
        split: generated tasks for training or test; disjoint.
        task_types: keep only these; all when absent.
        num_games: ALFWorld: keep the first n games of the canonical list.
        oracle: ALFWorld: tell the optimal number of commands to win after every step, for records and credit
            methods.
        reward: "success" (1 for winning, or for an exact answer); ALFWorld also "goal_conditions" (a share
            for every condition of the goal) or "optimal_distance" (success shaped by the optimal distance);
            SearchQA also "em" (the same as success) or "f1" (words in common with a golden answer).
        domain_randomization: ALFWorld: number the things of each kind anew in every episode.
        step_limit: ALFWorld: environment steps before an episode is truncated.
        questions: SearchQA: "synthetic", a JSONL file, or the name of a data set.
        num_questions: SearchQA: keep the first n questions of the canonical list.
        retriever: SearchQA: "bm25", "lucene", "dense", "hybrid", or the address of a server
            (http://host:port).
        corpus: SearchQA: passages to search, a JSONL file or a folder of `stepopsd index`; the synthetic
            encyclopedia when absent.
        topk: SearchQA: passages that a search shows.
        max_turns: SearchQA: searches before the closing turn, in which only an answer counts.
        max_information: SearchQA: longest text of passages that a search shows, in characters; the
            environment's own limit when absent.
        layout: "transcript" (one row per episode) or "window" (task and the last steps, one row per step).
        history: steps shown by the window layout.
        response: "plain" (the response is the action), "tags" (action inside <action> tags) or "search"
            (Search-R1's tags, handed on whole), which in SearchQA is what plain means.
    """

    id: str = "stepopsd/ALFWorld-v0"
    games: str = "generated"
    data_root: str | None = None
    engine: Literal["native", "textworld"] = "native"
    tier: Literal["tiny", "small", "full"] = "small"
    split: Literal["train", "test"] = "train"
    task_types: list[str] | None = None
    num_games: int | None = None
    oracle: bool = False
    reward: Literal["success", "goal_conditions", "optimal_distance", "em", "f1"] = "success"
    domain_randomization: bool = False
    step_limit: int = 50
    questions: str = "synthetic"
    num_questions: int | None = None
    retriever: str = "bm25"
    corpus: str | None = None
    topk: int = 3
    max_turns: int = 4
    max_information: int | None = None
    layout: Literal["transcript", "window"] = "transcript"
    history: int = 2
    response: Literal["plain", "tags", "search"] = "plain"


@dataclass
class EvalConfig:
    """Evaluation on held-out tasks.

    Attributes:
        games: ALFWorld: as env.games, for evaluation; "generated" uses the test houses.
        num_games: ALFWorld: games per evaluation.
        questions: SearchQA: as env.questions, or a list of files or names, each of which gets a table of its
            own; "synthetic" uses the test encyclopedia.
        num_questions: SearchQA: the first n questions of each set; all when absent.
        task_types: keep only these; when absent those of env.task_types.
        every: updates between evaluations during training; 0 means only at start and end.
        temperature: 0 takes the likeliest token.
    """

    games: str = "generated"
    num_games: int = 100
    questions: list[str] | str = "synthetic"
    num_questions: int | None = 100
    task_types: list[str] | None = None
    every: int = 0
    temperature: float = 0.4
