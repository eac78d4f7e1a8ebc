"""The fault server says the same to the same request, in whatever form it is asked."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_server import CONTENTS
from faulty import Faulty
from openai import OpenAI

from rsft.servers import Server, Unanswered

Start = Callable[..., Faulty]
TURNS: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Où est mon colis?"},
    {"role": "assistant", "content": "Ici."},
    {"role": "user", "content": "Où, exactement?"},
]
PROMPT = "Où, exactement?"


def chat(faulty: Faulty, **law: Any) -> Any:
    with OpenAI(base_url=faulty.url, api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(model="fake", messages=TURNS, **law)
        return list(answer) if law.get("stream") else answer


def texts(answer: Any) -> list[str]:
    return [choice.message.content for choice in answer.choices]


def test_seed_and_index_choose_the_reply_and_temperature_zero_the_only_one(fault_server: Start) -> None:
    faulty = fault_server()
    four = texts(chat(faulty, n=4, seed=7, temperature=0.7))
    assert len(set(four)) == 4
    assert texts(chat(faulty, n=2, seed=9)) == four[2:]
    greedy = texts(chat(faulty, temperature=0, seed=3))
    assert texts(chat(faulty, temperature=0, seed=4, n=2)) == greedy * 2
    assert texts(chat(faulty, n=4, seed=7)) == texts(chat(fault_server("--seed", 5), n=4, seed=7)) == four


def test_replies_come_from_a_list(fault_server: Start, tmp_path: Path) -> None:
    (tmp_path / "replies.json").write_text(json.dumps(["yes", "no"]))
    said = texts(chat(fault_server("--replies", tmp_path / "replies.json"), n=30))
    assert set(said) == {"yes", "no"}


def test_a_prompt_of_tokens_is_answered_as_its_text(fault_server: Start) -> None:
    faulty = fault_server()
    with OpenAI(base_url=faulty.url, api_key="none", max_retries=0) as client:
        law: Any = {"model": "fake", "seed": 3, "logprobs": 1, "extra_body": {"return_token_ids": True}}
        by_text = client.completions.create(prompt=PROMPT, **law)
        by_tokens = client.completions.create(prompt=list(PROMPT.encode()), **law)
    assert by_text == by_tokens
    (choice,) = by_text.model_dump()["choices"]
    assert bytes(choice["token_ids"]).decode() == choice["text"]
    assert len(choice["logprobs"]["token_logprobs"]) == len(choice["token_ids"])
    assert choice["prompt_token_ids"] == list(PROMPT.encode())
    assert texts(chat(faulty, seed=3)) == [choice["text"]]


def test_max_tokens_cuts_at_a_letter(fault_server: Start) -> None:
    faulty = fault_server()
    whole, cut = chat(faulty).choices[0], chat(faulty, max_tokens=2).choices[0]
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.message.content == "O"


def test_a_stream_says_what_the_whole_answer_says(fault_server: Start) -> None:
    faulty = fault_server()
    law: Any = {"n": 2, "logprobs": True, "extra_body": {"return_token_ids": True}, "max_tokens": 30}
    whole = chat(faulty, **law).model_dump()
    said, ids, ended = ["", ""], [[], []], ["", ""]  # type: tuple[list[str], list[list[int]], list[str]]
    usage = None
    for chunk in chat(faulty, **law, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.model_dump()["choices"]:
            said[choice["index"]] += choice["delta"]["content"]
            ids[choice["index"]] += choice["token_ids"]
            ended[choice["index"]] = choice["finish_reason"] or ended[choice["index"]]
    assert said == [choice["message"]["content"] for choice in whole["choices"]]
    assert ids == [choice["token_ids"] for choice in whole["choices"]]
    assert ended == [choice["finish_reason"] for choice in whole["choices"]]
    assert usage is not None
    assert usage.completion_tokens == whole["usage"]["completion_tokens"]


@pytest.mark.parametrize(("fault", "reason"), [("broken stream", "connection broke"), ("bad chunk", "can't be read")])
@pytest.mark.usefixtures("quick")
def test_a_stream_that_breaks_is_a_failure_with_a_reason(
    fault_server: Start, server_at: Callable[..., Server], fault: str, reason: str
) -> None:
    faulty = fault_server("--faults", 1, "--only", fault)
    server = server_at(faulty.url, attempts=2)

    async def send(client: Any) -> str:
        stream = await client.chat.completions.create(model="fake", messages=TURNS, stream=True)
        return "".join([chunk.choices[0].delta.content async for chunk in stream])

    with pytest.raises(Unanswered, match=f"failed 2 times, at last: .*{reason}"):
        server.finish(server.ask(send))
    assert faulty.faults() == {fault: 2}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", CONTENTS)
def test_wrong_contents_are_wrong_in_streams_too(fault_server: Start, fault: str, is_stream: bool) -> None:
    faulty = fault_server("--faults", 1, "--only", fault)
    asked = {"model": "fake", "messages": TURNS, "n": 3, "stream": is_stream}
    request = urllib.request.Request(f"{faulty.url}/chat/completions", json.dumps(asked).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read().decode()
    parts = [line[6:] for line in body.splitlines() if line.startswith("data: {")] if is_stream else [body]
    choices = [choice for part in map(json.loads, parts) for choice in part.get("choices") or [None]]
    indices = [choice and choice["index"] for choice in choices]
    contents = {(choice.get("delta") or choice.get("message"))["content"] for choice in choices if choice}
    expected = {"too few": {0, 1}, "too many": {0, 1, 2, 3}, "twice": {0, 1}}
    assert set(indices) == ({None} if fault in ("no choices", "null choices") else expected.get(fault, {0, 1, 2}))
    assert (contents == {None}) is (fault == "null content")
    assert (contents == {""}) is (fault == "empty")


def test_it_dies_when_it_should(fault_server: Start) -> None:
    faulty = fault_server("--die-after", 2)
    chat(faulty)
    with pytest.raises(Exception, match="Connection error"):
        chat(faulty)
    assert faulty.process.wait(60) == 1
