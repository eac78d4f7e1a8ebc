"""A server that speaks OpenAI's protocol and is bad at it, in a process of its own: `python fault_server.py --port 0`.

It prints its port. What a request is answered depends on the request alone: on the last user message (or the prompt),
and on seed + choice index, or at temperature 0 on nothing else. So the replies are the same whatever failed in between.
Its tokens are the bytes of a text. Which request gets which fault is drawn by its number and `--seed`, not by what it
asks. The standard library only, so that it can hang, cut bodies and send what no framework would.

    GET  /health, /v1/models
    POST /v1/chat/completions, /v1/completions    a prompt is a text or a list of token ids; streamed or not
    GET  /faults    how often each fault was dealt
    GET  /seen      how many requests came, the most at a time, and when each came (seconds, any zero)
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

# What a share of requests gets (`--faults`).
STATUSES = {"429 in seconds": 429, "429": 429, "429 at a date": 429, "500": 500, "503": 503}
CONTENTS = ("no choices", "null choices", "null content", "too few", "too many", "twice", "empty")
FAULTS = (*STATUSES, "hang", "cut", "closed", "not json", *CONTENTS, "broken stream", "bad chunk")
# What is dealt only where it is named (`--only`): no client can do anything about these.
FINAL = {"400": 400, "401": 401, "402": 402, "403": 403, "404": 404}
# Faults of streams, and what a request that asked for none gets instead.
_WITHOUT_STREAM = {"broken stream": "cut", "bad chunk": "not json"}
_PIECE = 5  # letters in a chunk of a stream
_RETRY_AFTER = "0.05"

Headers = Mapping[str, str]


class FaultServer:
    """Answers, and counts what it did."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.replies: list[str] | None = json.loads(options.replies.read_text()) if options.replies else None
        self.kinds = options.only.split(",") if options.only else FAULTS
        self.dealt: Counter[str] = Counter()
        self.arrivals: list[float] = []
        self.models: Counter[str] = Counter()
        self.now = self.most = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await _read(reader)) is not None and await self.answer(*asked, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, method: str, path: str, headers: Headers, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Says whether the connection may be used again."""
        if method == "GET":
            said = {
                "/health": {},
                "/v1/models": {"object": "list", "data": [{"id": self.options.model, "object": "model"}]},
                "/faults": dict(self.dealt),
                "/seen": {
                    "posts": len(self.arrivals),
                    "most": self.most,
                    "arrivals": self.arrivals,
                    "models": dict(self.models),
                },
            }.get(path)
            return await _send(writer, 404 if said is None else 200, said or {})
        self.arrivals.append(time.monotonic())
        if self.options.die_after == len(self.arrivals):
            os._exit(1)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._post(path, headers, body, writer)
        finally:
            self.now -= 1

    async def _post(self, path: str, headers: Headers, body: bytes, writer: asyncio.StreamWriter) -> bool:
        options, number = self.options, len(self.arrivals)
        if options.echo_key:
            return await _send(writer, options.echo_key, _error(f"who is {headers.get('authorization')}?"))
        if options.key and headers.get("authorization") != f"Bearer {options.key}":
            return await _send(writer, 401, _error("wrong key"))
        if options.bears and self.now > options.bears:
            self.dealt["overload"] += 1
            return await _send(writer, 429, _error("too many at a time"))
        try:
            asked = json.loads(body)
            self.models[asked["model"]] += 1
            whole = self._whole(path, asked)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            return await _send(writer, 400, _error(f"{type(error).__name__}: {error}"))
        chance = random.Random(f"{options.seed}:{number}")
        fault = chance.choice(self.kinds) if chance.random() < options.faults else None
        if fault is not None:
            self.dealt[fault] += 1
        if not asked.get("stream"):
            fault = _WITHOUT_STREAM.get(fault or "", fault)
        if options.refuse and options.refuse in body.decode():
            return await _send(writer, 400, _error("not this one"))
        await asyncio.sleep(options.delay)
        return await self._deal(fault, whole, asked, writer)

    async def _deal(self, fault: str | None, whole: Any, asked: Any, writer: asyncio.StreamWriter) -> bool:
        if fault in STATUSES or fault in FINAL:
            after = {"429 in seconds": _RETRY_AFTER, "429 at a date": formatdate(time.time() + 1, usegmt=True)}
            more = f"Retry-After: {after[fault]}\r\n" if fault in after else ""
            return await _send(writer, {**STATUSES, **FINAL}[fault], _error(f"dealt: {fault}"), more)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "closed":
            return False
        if fault == "not json":
            return await _send(writer, 200, b'{"choices": [{"index": 0, "mess')
        if fault == "cut":
            said = json.dumps(whole).encode()
            writer.write(_head(200, len(said)) + said[: len(said) // 2])
            await writer.drain()
            return False
        if fault in CONTENTS:
            _spoil(whole, fault)
        if asked.get("stream"):
            return await _stream(writer, whole, asked, fault)
        return await _send(writer, 200, whole)

    def _whole(self, path: str, asked: Any) -> dict[str, Any]:
        """The answer, if nothing goes wrong."""
        is_chat = {"/v1/chat/completions": True, "/v1/completions": False}[path]
        if is_chat:
            turns = asked["messages"]
            question = next((t["content"] for t in reversed(turns) if t["role"] == "user"), turns[-1]["content"])
            prompt = "\n".join(turn["content"] for turn in turns).encode()
        else:
            question = asked["prompt"]
            prompt = question.encode() if isinstance(question, str) else question
            question = question if isinstance(question, str) else _text(question)
        most = asked.get("max_tokens") or asked.get("max_completion_tokens")
        replies = [
            self.reply(question, asked, index).encode()
            for index in range(1 if self.options.alone else asked.get("n") or 1)
        ]
        texts = [_text(reply[:most]) for reply in replies]
        choices = [_choice(text, index, asked, is_chat) for index, text in enumerate(texts)]
        for reply, choice in zip(replies, choices, strict=True):
            choice["finish_reason"] = "length" if most and len(reply) > most else "stop"
        written = sum(len(text.encode()) + self.options.end_tokens for text in texts)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written, "total_tokens": len(prompt) + written}
        kind = "chat.completion" if is_chat else "text_completion"
        whole = {"id": "1", "object": kind, "created": 0, "model": asked["model"], "choices": choices, "usage": usage}
        if asked.get("return_token_ids"):
            for one in [whole] if is_chat else choices:
                one["prompt_token_ids"] = list(prompt)
        return whole

    def reply(self, question: str, asked: Mapping[str, Any], index: int) -> str:
        """The whole text of a choice, uncut."""
        drawn = 0 if asked.get("temperature") == 0 else (asked.get("seed") or 0) + index
        number = int.from_bytes(hashlib.sha256(f"{drawn}\0{question}".encode()).digest()[:4], "big")
        return self.replies[number % len(self.replies)] if self.replies else f"{question} – answer {number}"


def _choice(text: str, index: int, asked: Mapping[str, Any], is_chat: bool) -> dict[str, Any]:
    tokens = list(text.encode())
    choice: dict[str, Any] = {"index": index, "finish_reason": None, "logprobs": None}
    logprobs = [-(1 + token % 7) / 10 for token in tokens]
    names = [f"<{token}>" for token in tokens]
    if is_chat:
        choice["message"] = {"role": "assistant", "content": text}
        if asked.get("logprobs"):
            said = zip(names, tokens, logprobs, strict=True)
            choice["logprobs"] = {
                "content": [{"token": n, "bytes": [b], "logprob": p, "top_logprobs": []} for n, b, p in said]
            }
    else:
        choice["text"] = text
        if asked.get("logprobs") is not None:
            choice["logprobs"] = {"tokens": names, "token_logprobs": logprobs, "top_logprobs": None}
    if asked.get("return_token_ids"):
        choice["token_ids"] = tokens
    return choice


def _spoil(whole: dict[str, Any], fault: str) -> None:
    """Make an answer wrong in form or in number."""
    choices = whole["choices"]
    if fault == "no choices":
        del whole["choices"]
    elif fault == "null choices":
        whole["choices"] = None
    elif fault == "too few":
        choices.pop()
    elif fault == "too many":
        choices.append({**choices[-1], "index": len(choices)})
    elif fault == "twice":
        choices[max(1, len(choices) - 1) :] = [choices[0]]
    else:
        for choice in choices:
            _empty(choice, None if fault == "null content" else "")
        whole["usage"]["completion_tokens"] = 0


def _empty(choice: dict[str, Any], content: str | None) -> None:
    if "message" in choice:
        choice["message"]["content"] = content
    else:
        choice["text"] = content
    choice["logprobs"] = None
    choice["finish_reason"] = "stop"
    if "token_ids" in choice:
        choice["token_ids"] = []


async def _stream(writer: asyncio.StreamWriter, whole: dict[str, Any], asked: Any, fault: str | None) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = [chunk async for chunk in _chunks(whole, asked)]
    for number, chunk in enumerate(chunks):
        if number == len(chunks) // 2 and fault == "broken stream":
            await writer.drain()
            return False
        if number == len(chunks) // 2 and fault == "bad chunk":
            _event(writer, '{"choices": [{"ind')
        _event(writer, json.dumps(chunk))
        await writer.drain()
    _event(writer, "[DONE]")
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _chunks(whole: dict[str, Any], asked: Any) -> AsyncIterator[dict[str, Any]]:
    """An answer in pieces: each a few letters of one choice, then its end; at last, if it is asked for, the usage."""
    common = {key: value for key, value in whole.items() if key not in ("choices", "usage")}
    common["object"] = common["object"].replace("chat.completion", "chat.completion.chunk")
    if not whole.get("choices"):
        yield {**common, **({"choices": whole["choices"]} if "choices" in whole else {})}
    for choice in whole.get("choices") or []:
        is_chat = "message" in choice
        text = choice["message"]["content"] if is_chat else choice["text"]
        pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)] if text else [text]
        for last, piece in ((piece is pieces[-1], piece) for piece in pieces):
            part = _choice(piece or "", choice["index"], asked, is_chat)
            message = part.pop("message", None) or {}
            part["finish_reason"] = choice["finish_reason"] if last else None
            said = {"delta": {**message, "content": piece}} if is_chat else {"text": piece}
            yield {**common, "choices": [{**part, **said}]}
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield {**common, "choices": [], "usage": whole["usage"]}


def _event(writer: asyncio.StreamWriter, data: str) -> None:
    said = f"data: {data}\n\n".encode()
    writer.write(f"{len(said):x}\r\n".encode() + said + b"\r\n")


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, Headers, bytes] | None:
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def _send(writer: asyncio.StreamWriter, status: int, said: Any, more: str = "") -> bool:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    writer.write(_head(status, len(body), more) + body)
    await writer.drain()
    return True


def _head(status: int, size: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{more}\r\n".encode()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "dealt", "code": None}}


def _text(tokens: Any) -> str:
    """The text of bytes, without a letter that was cut through; other tokens by their numbers."""
    try:
        return bytes(tokens).decode(errors="ignore")
    except ValueError:
        return " ".join(map(str, tokens))


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--seed", type=int, default=0, help="which requests get which faults")
    parser.add_argument("--faults", type=float, default=0.0, help="the share of requests that gets one")
    parser.add_argument("--only", help=f"these faults, with commas between: {', '.join((*FAULTS, *FINAL))}")
    parser.add_argument("--replies", type=Path, help="a JSON list of texts to reply with")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--bears", type=int, help="answers 429 to more requests at a time")
    parser.add_argument("--alone", action="store_true", help="answers with one choice, whatever n is")
    parser.add_argument("--refuse", help="answers 400 to requests with this text")
    parser.add_argument("--end-tokens", action="store_true", help="counts the token that ends a reply")
    parser.add_argument("--key", help="answers 401 without it")
    parser.add_argument("--echo-key", type=int, metavar="STATUS", help="answers so, and repeats the key")
    parser.add_argument("--die-after", type=int, metavar="N", help="exits at the N-th POST")
    return parser.parse_args(words)


async def main() -> None:
    server = FaultServer(_options(sys.argv[1:]))
    listening = await asyncio.start_server(
        server.connection, "127.0.0.1", server.options.port, limit=2**26, backlog=1024
    )
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
