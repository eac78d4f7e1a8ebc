"""Nouns as rows of Parquet, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from rsft.types import Candidate, CandidateKey, Decision, Message, Prompt, Score


class ScoreRow(NamedTuple):
    """What one scorer, of this very fingerprint, said of one candidate."""

    key: CandidateKey
    scorer: str
    fingerprint: str
    score: Score


@cache
def schemas() -> dict[str, Any]:
    """The Arrow schema of each kind of segment."""
    import pyarrow as pa

    key = [
        ("iteration", pa.int32()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("generator", pa.string()),
    ]
    columns: dict[str, list[tuple[str, Any]]] = {
        "prompts": [
            ("split", pa.string()),
            ("id", pa.string()),
            ("messages", pa.string()),
            ("conversation", pa.string()),
            ("fields", pa.string()),
        ],
        "candidates": [
            *key,
            ("text", pa.string()),
            ("token_ids", pa.list_(pa.int32())),
            ("finish_reason", pa.string()),
            ("logprob", pa.float64()),
            ("model_logprob", pa.float64()),
            ("why", pa.string()),
            ("ended_by", pa.string()),
            ("retokenised", pa.bool_()),
        ],
        "scores": [
            *key,
            ("scorer", pa.string()),
            ("fingerprint", pa.string()),
            ("value", pa.float64()),
            ("explanation", pa.string()),
            ("failure", pa.string()),
        ],
        "decisions": [
            *key,
            ("selection", pa.string()),
            ("accepted", pa.bool_()),
            ("rule", pa.string()),
            ("explanation", pa.string()),
        ],
    }
    return {kind: pa.schema(fields) for kind, fields in columns.items()}


KINDS = ("prompts", "candidates", "scores", "decisions")

# How columns lie in a file. What repeats is a dictionary by default; not so token ids, whose repetitions zstd finds
# more of by itself, nor measured numbers, whose bytes compress best apart (first bytes together, second bytes, ...),
# nor texts. Of 131,072 replies of 19 tokens with made-up log-probabilities, bytes a candidate at zstd's level 6: 58
# with everything as dictionaries, 51 so; at level 3, which takes half the time, 62 and 56.
_ENCODINGS = {
    "token_ids.list.element": "PLAIN",
    "text": "DELTA_LENGTH_BYTE_ARRAY",
    "messages": "DELTA_LENGTH_BYTE_ARRAY",
    "conversation": "DELTA_LENGTH_BYTE_ARRAY",
    "fields": "DELTA_LENGTH_BYTE_ARRAY",
    "logprob": "BYTE_STREAM_SPLIT",
    "model_logprob": "BYTE_STREAM_SPLIT",
    "value": "BYTE_STREAM_SPLIT",
}


def layout(kind: str) -> dict[str, Any]:
    """How a Parquet writer is to write a kind of segment."""
    leaves = ["token_ids.list.element" if name == "token_ids" else name for name in schemas()[kind].names]
    return {
        "compression": "zstd",
        "compression_level": 6,
        "use_dictionary": [leaf for leaf in leaves if leaf not in _ENCODINGS] or False,
        "column_encoding": {leaf: _ENCODINGS[leaf] for leaf in leaves if leaf in _ENCODINGS} or None,
    }


def table(kind: str, columns: Sequence[Sequence[Any]]) -> Any:
    """An Arrow table of columns in the order of the kind's schema."""
    import pyarrow as pa

    schema = schemas()[kind]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def prompts_table(prompts: Sequence[tuple[str, Prompt]]) -> Any:
    """Prompts with their splits."""
    return table("prompts", list(zip(*(prompt_row(*one) for one in prompts), strict=True)))


def candidates_table(candidates: Sequence[Candidate]) -> Any:
    columns = ([getattr(candidate, name) for candidate in candidates] for name in schemas()["candidates"].names[4:])
    return table("candidates", [*_key_columns([candidate.key for candidate in candidates]), *columns])


def scores_table(scores: Sequence[ScoreRow]) -> Any:
    said = [row.score for row in scores]
    columns = ([getattr(score, name) for score in said] for name in ("value", "explanation", "failure"))
    whose = [row.scorer for row in scores], [row.fingerprint for row in scores]
    return table("scores", [*_key_columns([row.key for row in scores]), *whose, *columns])


def decisions_table(selection: str, decided: Sequence[tuple[CandidateKey, Decision]]) -> Any:
    columns = ([getattr(one, name) for _, one in decided] for name in ("accepted", "rule", "explanation"))
    return table("decisions", [*_key_columns([key for key, _ in decided]), [selection] * len(decided), *columns])


def prompt_row(split: str, prompt: Prompt) -> tuple[Any, ...]:
    return (split, prompt.id, _turns(prompt.messages), _turns(prompt.conversation), json.dumps(dict(prompt.fields)))


def prompt_of(row: Sequence[Any]) -> Prompt:
    _, prompt_id, messages, conversation, fields = row
    return Prompt(prompt_id, _messages(messages), _messages(conversation), json.loads(fields))


def candidate_of(row: Sequence[Any]) -> Candidate:
    key, (text, token_ids, *rest) = row[:4], row[4:]
    return Candidate(CandidateKey(*key), text, tuple(token_ids), *rest)


def score_of(row: Sequence[Any]) -> ScoreRow:
    *key, scorer, fingerprint, value, explanation, failure = row
    return ScoreRow(CandidateKey(*key), scorer, fingerprint, Score(value, explanation, failure))


def decision_of(row: Sequence[Any]) -> tuple[CandidateKey, Decision]:
    *key, _, accepted, rule, explanation = row
    return CandidateKey(*key), Decision(accepted, rule, explanation)


def _key_columns(keys: Sequence[CandidateKey]) -> list[list[Any]]:
    return [
        [key.iteration for key in keys],
        [key.prompt_id for key in keys],
        [key.sample_index for key in keys],
        [key.generator for key in keys],
    ]


def _turns(messages: Sequence[Message]) -> str:
    return json.dumps([[message.role, message.content] for message in messages])


def last_turn(messages: str) -> str:
    """What the last of stored turns says."""
    return str(json.loads(messages)[-1][1])


def _messages(text: str) -> tuple[Message, ...]:
    return tuple(Message(role, content) for role, content in json.loads(text))
