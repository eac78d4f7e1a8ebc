"""What a server can do, found out by one or two tiny requests for each thing, and not by what it is called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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
    models: tuple[str, ...] | None = None
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
        return Found(away=str(error))
    async with server.client:
        try:
            models: tuple[str, ...] | None = await _models(server)
        except Unanswered as error:
            return Found(away=str(error))
        except ServerError as error:
            if "can't be asked" not in str(error) or not await _answers(server):
                return Found(away=str(error))
            models = None  # it is there, and lists none
        version = await _version(server)
        return Found(None, version, models, await abilities(server) if chats else None)


async def abilities(server: Server) -> dict[str, Ability]:
    """What the server can do for a chat: by name, of those in `_LOOKS`. Without `chat` there is nothing else."""
    chat = await _seen(_chat(server))
    if not chat.can:
        return {"chat": chat}
    looks = {name: _seen(look(server)) for name, look in _LOOKS.items()}
    return {"chat": chat, **dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))}


async def _seen(look: Awaitable[Ability]) -> Ability:
    """What a look shows, or that the request was refused."""
    try:
        return await look
    except ServerError as error:
        return Ability(False, str(error).split("What was drawn")[0].strip())
    except Unanswered as error:
        return Ability(False, str(error).replace("the server failed 1 times, at last: ", ""))


# -- each of them ------------------------------------------------------------------------------------------------------


async def _chat(server: Server) -> Ability:
    await _ask(server, max_tokens=1)
    return Ability(True, "answers")


async def _several(server: Server) -> Ability:
    count = len(await _ask(server, n=2, max_tokens=1))
    return Ability(count == 2, f"gives {count} for n: 2")


async def _seed(server: Server) -> Ability:
    """The same seed twice, and another one."""
    law = {"temperature": 1.0, "max_tokens": _TOKENS}
    first, again, other = [_text(await _ask(server, seed=seed, **law)) for seed in (1, 1, 2)]
    if first != again:
        return Ability(False, "takes a seed, and gives another reply with the same one")
    if first == other:
        return Ability(None, "takes a seed; other seeds gave the same reply, too")
    return Ability(True, "the same seed gives the same reply, another one another")


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
    """A load without a name is refused by whoever loads adapters (400), and unknown to others (404)."""
    try:
        await server.post("/load_lora_adapter", {"lora_name": "", "lora_path": ""})
    except Unanswered as error:
        if "lora" in str(error).casefold():
            return Ability(True, "takes adapters while it runs")
        return Ability(False, str(error))
    except ServerError:
        return Ability(False, "loads none while it runs (vLLM does with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1)")
    return Ability(None, "accepts an adapter without a name")


_LOOKS: Mapping[str, Callable[[Server], Awaitable[Ability]]] = {
    "n": _several,
    "seed": _seed,
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
    import httpx2

    async def send(client: AsyncOpenAI) -> dict[str, Any]:
        response = await client.get(path, cast_to=httpx2.Response)
        try:
            said = response.json()
        except ValueError:
            raise Malformed("the answer is not JSON") from None
        if not isinstance(said, dict):
            raise Malformed("the answer is no JSON object")
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


async def _answers(server: Server) -> bool:
    """Whether somebody is there who answers a chat: some servers list no models."""
    return bool((await _seen(_chat(server))).can)
