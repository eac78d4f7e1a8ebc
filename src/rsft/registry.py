"""Where a plug-in's name leads. One visible table for each kind; a user's own is named as `path/to/file.py:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rsft.errors import RecipeError, nearest

ENGINES = {
    "local": "rsft.engines.local:LocalEngine",
    "vllm": "rsft.engines.remote:VllmEngine",
    "openai": "rsft.engines.remote:OpenAIEngine",
    "scripted": "rsft.engines.scripted:ScriptedEngine",
}
SCORERS = {
    # relevance
    "embedding_relevance": "rsft.scorers.embedding:EmbeddingRelevance",
    "mutual_information": "rsft.scorers.mutual_information:MutualInformation",
    "reranker": "rsft.scorers.reranker:Reranker",
    # consistency
    "states_facts": "rsft.scorers.states_facts:StatesFacts",
    "contradicts_nothing": "rsft.scorers.contradicts_nothing:ContradictsNothing",
    "nli": "rsft.scorers.nli:Nli",
    # novelty
    "repetition": "rsft.scorers.repetition:Repetition",
    "reference_overlap": "rsft.scorers.reference_overlap:ReferenceOverlap",
    "novelty": "rsft.scorers.novelty:Novelty",
    "embedding_novelty": "rsft.scorers.embedding:EmbeddingNovelty",
    # verifiers
    "answer": "rsft.scorers.answer:Answer",
    "math_answer": "rsft.scorers.math_answer:MathAnswer",
    "code_tests": "rsft.scorers.code_tests:CodeTests",
    "json_schema": "rsft.scorers.json_schema:JsonSchema",
    "constraints": "rsft.scorers.constraints:Constraints",
    "format": "rsft.scorers.format:Format",
    "one_line": "rsft.scorers.format:OneLine",
    "length": "rsft.scorers.length:Length",
    "forbidden": "rsft.scorers.forbidden:Forbidden",
    "readability": "rsft.scorers.readability:Readability",
    # models that were trained to judge
    "reward_model": "rsft.scorers.classifier:RewardModel",
    "classifier": "rsft.scorers.classifier:Classifier",
    "process_reward": "rsft.scorers.process_reward:ProcessReward",
    # chat models that judge
    "rubric": "rsft.scorers.judge.rubric:Rubric",
    "pairwise": "rsft.scorers.judge.pairwise:Pairwise",
    "checklist": "rsft.scorers.judge.checklist:Checklist",
    # from other scores
    "combined": "rsft.scorers.combined:Combined",
}
RULES = {
    "threshold": "rsft.selection.threshold:Threshold",
    "certified": "rsft.selection.certified:Certified",
    "top_k": "rsft.selection.top_k:TopK",
    "best_of_n": "rsft.selection.top_k:BestOfN",
    "quantile": "rsft.selection.quantile:Quantile",
    "statistical_rejection": "rsft.selection.statistical:StatisticalRejection",
    "pareto": "rsft.selection.pareto:Pareto",
    "cap": "rsft.selection.top_k:Cap",
    "balance": "rsft.selection.shares:Balance",
    "length_matched": "rsft.selection.shares:LengthMatched",
    "no_duplicates": "rsft.selection.duplicates:NoDuplicates",
    "no_near_duplicates": "rsft.selection.duplicates:NoNearDuplicates",
    "no_similar": "rsft.scorers.no_similar:NoSimilar",
    "better_than": "rsft.selection.better:BetterThan",
    "agreement": "rsft.selection.agreement:Agreement",
    "most_novel": "rsft.selection.novel:MostNovel",
}
TRAINERS = {
    "sft": "rsft.training.sft:SftTraining",
    "openai": "rsft.training.hosted:HostedTraining",
    "null": "rsft.training.null:NullTraining",
}
OWN = "rsft_user_"
"""What the names of modules begin with that are made of users' own files."""
_KINDS = {"engine": ENGINES, "scorer": SCORERS, "rule": RULES, "trainer": TRAINERS}


def load(kind: str, name: str) -> Any:
    """The class or function that `name` stands for among plug-ins of this kind. Raises RecipeError."""
    table = _KINDS[kind]
    if name in table:
        module, _, attribute = table[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise RecipeError(
            f"There is no {kind} named '{name}'.{nearest(name, table)} The {kind}s are {', '.join(sorted(table))};"
            f" your own is named as path/to/file.py:Name."
        )
    return _from_file(kind, Path(path), attribute)


def _from_file(kind: str, path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise RecipeError(f"The {kind} '{path}:{attribute}' names the file {path}, which does not exist.")
    # A module name made of the content: an edited file is loaded anew, two files of one name do not meet.
    module_name = f"{OWN}{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        try:
            import_file(module_name, path)
        except Exception as error:
            raise RecipeError(f"The file {path} of {kind} '{attribute}' can't be imported: {error!r}") from error
    found = getattr(sys.modules[module_name], attribute, None)
    if not callable(found):
        names = [name for name in vars(sys.modules[module_name]) if not name.startswith("_")]
        raise RecipeError(f"The file {path} has no function or class '{attribute}'.{nearest(attribute, names)}")
    return found


def import_file(module_name: str, path: Path) -> None:
    """Import a file as a module of this name. What it raises leaves no module behind."""
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise


def fingerprint_of(kind: Any, options: Any, version: int = 1) -> str:
    """A hash of a class or function, its options, and its version or, for a user's own, the content of its file."""
    source = _file_hash(kind.__module__) if not kind.__module__.startswith("rsft.") else ""
    # A user's module is named after the file and its content; the content counts below, the folder never.
    module = kind.__module__ if not source else Path(_file_of(kind.__module__) or "").stem
    identity = [f"{module}.{kind.__qualname__}", options, version, source]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _file_of(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


@cache
def _file_hash(module: str) -> str:
    """The sha256 of the file that a module came from. (The registry gives an edited file another module name.)"""
    file = _file_of(module)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def misuses(function: Callable[..., Any], options: Mapping[str, Any], takes: str = "") -> list[str]:
    """What is wrong with calling a user's function, or class, with these options by name: a line for each mistake.

    A function's first parameter is for what it `takes` ("list of replies"); a class takes options only.
    """
    parameters = list(inspect.signature(function).parameters.values())
    named = [p for p in parameters[1 if takes else 0 :] if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    allowed = [p.name for p in named]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [option for option in options if option not in allowed and not open_ended]
    problems = [f"there is no option '{option}'.{nearest(option, allowed)}" for option in unknown]
    problems += [f"the option '{p.name}' is missing." for p in named if p.default is p.empty and p.name not in options]
    if takes and all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters[:1]):
        problems.append(f"the function must take the {takes} as its first argument.")
    return [*problems, f"Its options are: {', '.join(allowed) or 'none'}."] if problems else []
