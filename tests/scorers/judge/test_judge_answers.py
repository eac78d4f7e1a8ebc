"""What a judge answers counts to the letter of its schema, or not at all."""

from __future__ import annotations

import json

import pytest

from rsft.scorers.judge.verdicts import TEXT, Unread, an_object, one_of, read

SCHEMA = an_object({"explanation": TEXT, "score": one_of(range(11))})
WHOLE = '{"explanation": "Good.", "score": 7}'


@pytest.mark.parametrize("text", [WHOLE, f" \n{WHOLE}\n", f"```json\n{WHOLE}\n```", f"```\n{WHOLE}\n```\n"])
def test_an_answer_as_a_whole_or_in_one_fence(text: str) -> None:
    assert read(text, SCHEMA) == {"explanation": "Good.", "score": 7}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "I think it is good: 7",
        f"Here it is: {WHOLE}",
        f"{WHOLE} Good luck!",
        f"{WHOLE}\n{WHOLE}",
        f"```json\n{WHOLE}\n```\n```json\n{WHOLE}\n```",
        f"[{WHOLE}]",
        '{"explanation": "Good.", "score": 7',
        '{"score": 7}',
        '{"explanation": "Good."}',
        '{"explanation": "Good.", "score": 7, "sure": true}',
        '{"explanation": "Good.", "score": 3, "score": 7}',
        '{"explanation": "Good.", "score": 11}',
        '{"explanation": "Good.", "score": -1}',
        '{"explanation": "Good.", "score": 7.0}',
        '{"explanation": "Good.", "score": 7.5}',
        '{"explanation": "Good.", "score": "7"}',
        '{"explanation": "Good.", "score": true}',
        '{"explanation": "Good.", "score": null}',
        '{"explanation": "Good.", "score": NaN}',
        '{"explanation": "Good.", "score": Infinity}',
        '{"explanation": 7, "score": 7}',
        "[" * 100_000,
        '{"explanation": "Good.", "score": ' + "9" * 10_000 + "}",
    ],
)
def test_anything_else_is_none_and_says_why(text: str) -> None:
    with pytest.raises(Unread, match="the judge's answer"):
        read(text, SCHEMA)


def test_a_schema_asks_for_all_keys_in_their_order_and_no_others() -> None:
    assert json.dumps(SCHEMA).index("explanation") < json.dumps(SCHEMA).index("score")
    assert SCHEMA["required"] == ["explanation", "score"]
    assert SCHEMA["additionalProperties"] is False
