"""What a server can do, found out by one or two tiny requests for each thing, and not by what it is called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rsft.errors import ServerError
from rsft.servers.asking import Malformed, Server, Unanswered, post
from rsft.servers.endpoint import Endpoint
from rsft.servers.spending import Spending

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# A look at a server is short: one that takes longer is said to.
_SECONDS = 20.0
_TOKENS = 8
_SAY = [{"role": "user", "content": "Say a random word."}]
_NO_ADAPTER = "rsft-doctor-looks-for-none"
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether a server can do something (None: that did not come out), and what it was that showed it."""

    can: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """A server, looked at. `away` says why it can't be asked at all; the rest is then empty."""

    away: str | None = None
    version: str | None = None
    models: tuple[str, ...] = ()
    abilities: Mapping[str, Ability] | None = None


async def look_at(endpoint: Endpoint, *, chats: bool = True) -> Found:
    """Ask a server what it is, and have it show what it can do: some ten requests of a few tokens each.

    `chats` is false for one that is there to score, of which only version and models are asked. What is asked here is
    in no run's sum. Never raises for what a server does.
    """
    brief = {"attempts": 1, "patience_seconds": 0.0, "timeout_seconds": min(_SECONDS, endpoint.timeout_seconds)}
    try:
        server = Server(endpoint.model_copy(update=brief), spending=Spending())
    except ServerError as error:
        return Found(away=_reason(error))
    async with server.client:
        try:
            models = await _models(server)
        except (Unanswered, ServerError) as error:
            return Found(away=_reason(error))
        version = await _version(server)
        return Found(None, version, models, await abilities(server) if chats else None)


async def abilities(server: Server) -> dict[str, Ability]:
    """What the server can do for a chat: by name, `chat` first. Without `chat` there is nothing else."""
    chat = await _seen(_chat(server))
    if not chat.can:
        return {"chat": chat}
    alone = {name: await _seen(look(server)) for name, look in _ALONE.items()}
    looks = {name: _seen(look(server)) for name, look in _TOGETHER.items()}
    return {"chat": chat, **alone, **dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))}


async def _seen(look: Awaitable[Ability]) -> Ability:
    """What a look shows, or that the request was refused."""
    try:
        return await look
    except (ServerError, Unanswered) as error:
        return Ability(False, _reason(error))


def _reason(error: Exception) -> str:
    """What an error says of a server that was asked once, and of which no run depends yet."""
    return str(error).replace("the server failed 1 times, at last: ", "").split(" What was drawn")[0]


# -- each of them ------------------------------------------------------------------------------------------------------


async def _chat(server: Server) -> Ability:
    await _ask(server, max_tokens=1)
    return Ability(True, "answers")


async def _several(server: Server) -> Ability:
    count = len(await _ask(server, n=2, max_tokens=1))
    return Ability(count == 2, f"gives {count} for n: 2")


async def _seed(server: Server) -> Ability:
    """The same seed twice, and another one, one behind the other."""
    law = {"temperature": 1.0, "max_tokens": _TOKENS}
    first, again, other = [_text(await _ask(server, seed=seed, **law)) for seed in (1, 1, 2)]
    if first != again:
        return Ability(False, "takes a seed, and gives another reply with the same one")
    if first == other:
        return Ability(None, "takes a seed; other seeds gave the same reply, too")
    return Ability(True, "asked alone, the same seed gives the same reply, and another one another")


async def _token_ids(server: Server) -> Ability:
    (choice, *_) = await _ask(server, return_token_ids=True, max_tokens=2)
    ids = choice.get("token_ids")
    if isinstance(ids, list) and ids and all(isinstance(one, int) for one in ids):
        return Ability(True, "return_token_ids gives them")
    return Ability(False, "takes return_token_ids, and gives none")


async def _logprobs(server: Server) -> Ability:
    (choice, *_) = await _ask(server, logprobs=True, max_tokens=2)
    content = (choice.get("logprobs") or {}).get("content")
    there = isinstance(content, list) and bool(content) and isinstance(content[0].get("logprob"), (int, float))
    return Ability(there, "gives each token's" if there else "takes logprobs, and gives none")


async def _streaming(server: Server) -> Ability:
    async def send(client: AsyncOpenAI) -> int:
        body: Any = {"model": server.endpoint.model, "messages": _SAY, "max_tokens": 2, "stream": True}
        parts = 0
        async with await client.chat.completions.create(**body) as stream:
            async for part in stream:
                parts += bool(part.choices)
        return parts

    parts = await server.ask(send, _TOKENS)
    return Ability(parts > 0, f"came in {parts} parts" if parts else "takes stream, and streams nothing")


async def _json_schema(server: Server) -> Ability:
    """Asked for a word, a model that is bound to a schema begins an object nevertheless."""
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA, "strict": True}}
    text = _text(await _ask(server, response_format=form, max_tokens=_TOKENS, temperature=0.0))
    if not text.lstrip().startswith("{"):
        return Ability(False, f"takes a schema, and says {text[:20]!r}")
    return Ability(True, "keeps to a schema" if _is_json(text) else "begins as the schema has it")


async def _adapters(server: Server) -> Ability:
    """One that is not there is looked for, and named as missing, only by a server that loads adapters."""
    try:
        await server.post("/load_lora_adapter", {"lora_name": _NO_ADAPTER, "lora_path": f"/nowhere/{_NO_ADAPTER}"})
    except (Unanswered, ServerError) as error:
        if _NO_ADAPTER in str(error):
            return Ability(True, "loads them while it runs")
        if isinstance(error, ServerError):  # no such path
            return Ability(False, "loads none while it runs (vLLM: --enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1)")
        return Ability(False, _reason(error))
    return Ability(None, "claims to have loaded an adapter that is not there")


# What vLLM draws with a seed changes with what else is in its batch: rounding differs between batch shapes.
_ALONE: Mapping[str, Callable[[Server], Awaitable[Ability]]] = {"n": _several, "seed": _seed}
_TOGETHER: Mapping[str, Callable[[Server], Awaitable[Ability]]] = {
    "token_ids": _token_ids,
    "logprobs": _logprobs,
    "streaming": _streaming,
    "json_schema": _json_schema,
    "adapters": _adapters,
}


# -- asking ------------------------------------------------------------------------------------------------------------


async def _ask(server: Server, **law: Any) -> Sequence[Mapping[str, Any]]:
    """The choices of an answer, at least one."""

    async def send(client: AsyncOpenAI) -> Sequence[Mapping[str, Any]]:
        said = await post(client, "/chat/completions", {"model": server.endpoint.model, "messages": _SAY, **law})
        choices = said.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            raise Malformed("the answer has no choices")
        return choices

    return await server.ask(send, _TOKENS)


def _text(choices: Sequence[Mapping[str, Any]]) -> str:
    message = choices[0].get("message")
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def _get(server: Server, path: str) -> dict[str, Any]:
    """The JSON object at a path, an empty one where there is nothing. Raises Unanswered, ServerError."""
    import httpx2
    import openai

    async def send(client: AsyncOpenAI) -> dict[str, Any]:
        try:
            response = await client.get(path, cast_to=httpx2.Response)
        except openai.NotFoundError:
            return {}
        try:
            said = response.json()
        except ValueError:
            raise Malformed("the answer is not JSON: is this the address of an API? It mostly ends in /v1") from None
        if not isinstance(said, dict):
            raise Malformed(f"the answer is {type(said).__name__}, not a JSON object")
        return said

    return await server.ask(send)


async def _models(server: Server) -> tuple[str, ...]:
    data = (await _get(server, "/models")).get("data")
    rows = data if isinstance(data, list) else []
    return tuple(str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row)


async def _version(server: Server) -> str | None:
    try:
        said = (await _get(server, server.endpoint.beside("/version"))).get("version")
    except (Unanswered, ServerError):
        return None
    return said if isinstance(said, str) else None
