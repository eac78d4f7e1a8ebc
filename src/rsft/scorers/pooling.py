"""Asking models of scorers behind a server: vLLM's pooling endpoints, and embeddings as OpenAI has them.

The requests and answers are vLLM's (vllm/entrypoints/pooling/*/protocol.py) and OpenAI's (/v1/embeddings). An answer of
another form, to less or to more than was asked, is asked for again. What can't be had is an exception that says why.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import regex

from rsft.servers import Malformed, Refused, Server, Unanswered
from rsft.servers.asking import post
from rsft.servers.chat import tokens_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
V = TypeVar("V")

PoolingPath = Literal["/classify", "/pooling"]
Vector = np.ndarray[Any, np.dtype[np.float32]]

# How vLLM, OpenAI and text-embeddings-inference refuse what a model can't read as a whole.
_TOO_LONG = regex.compile(r"context.length|maximum.{0,20}length|must have less than \d+ tokens|too long", regex.I)
# What tokenizers of chat models and of encoders have as marks. A server reads them so wherever they stand.
_MARKS = regex.compile(
    r"<[|｜][^<>|｜\s]{1,40}[|｜]>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>|"
    r"\[(?:CLS|SEP|PAD|MASK|UNK|/?INST)\]"
)
# Texts that are embedded by one request. Few, so that a refused one does not make many be asked for again.
_TEXTS = 16
# A text that is cut in halves so often and still too long is refused for another reason.
_HALVINGS = 12


class Unusable(ValueError):
    """An answer that can't be made a score of; asking again would not help."""


def all_of(server: Server, questions: Iterable[Coroutine[Any, Any, T]]) -> list[T | Exception]:
    """The answers to questions that go out together, in order: of one that has none, why not.

    Raises ServerError where no question will have an answer.
    """

    async def together() -> list[T | Exception]:
        tasks = [asyncio.ensure_future(_or_why(question)) for question in questions]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            raise

    return server.finish(together())


async def _or_why(question: Coroutine[Any, Any, T]) -> T | Exception:
    try:
        return await question
    except (Unanswered, ValueError) as error:  # ValueError: also for a text that is no Unicode
        return error


async def first_that_fits(versions: Iterable[V], ask: Callable[[V], Awaitable[T]]) -> T:
    """The answer to the first of these that the model can read as a whole. Raises the last one's error."""
    refused: Refused | None = None
    for version in versions:
        try:
            return await ask(version)
        except Refused as error:
            if not is_too_long(error):
                raise
            refused = error
    raise refused or Unusable("there is nothing to ask")


def is_too_long(error: Exception) -> bool:
    """Whether a server refused a text because its model can't read so much."""
    return _TOO_LONG.search(str(error)) is not None


def refuse_marks(texts: Iterable[str]) -> None:
    """Raise Unusable for a text that spells what a server would read as a mark, such as the end of a turn.

    Here a model's own tokenizer keeps such text what it is; a server that is sent text can't be told to.
    """
    for text in texts:
        if found := _MARKS.search(text):
            raise Unusable(f"a text spells {found[0]!r}, which a server may read as a mark and not as text")


async def classify(
    server: Server, path: PoolingPath, said: Mapping[str, Any], *, probabilities: bool
) -> tuple[Any, str]:
    """What a classifier says of `messages` or of an `input`: (L,), logits or probabilities, and the likeliest's name.

    Of a model that says something of each token (/pooling), the last one's.
    """
    about = sum(len(turn["content"]) for turn in said.get("messages", ())) + len(said.get("input", ""))
    body = {"model": server.endpoint.model, **said, "use_activation": probabilities}
    (one,) = await _data(server, server.endpoint.beside(path), body, 1, about)
    numbers = one.get("probs" if path == "/classify" else "data")
    if isinstance(numbers, list) and numbers and isinstance(numbers[-1], list):
        numbers = numbers[-1]
    label = one.get("label")
    return _finite(numbers), label if isinstance(label, str) else ""


async def relevance(server: Server, query: str, document: str) -> float:
    """What a cross-encoder says of a query and a document, through the activation that it is shipped with."""
    body = {"model": server.endpoint.model, "text_1": query, "text_2": document}
    (one,) = await _data(server, server.endpoint.beside("/score"), body, 1, len(query) + len(document))
    return float(_finite([one.get("score")])[0])


async def embed(server: Server, texts: Sequence[str]) -> list[list[Vector] | Exception]:
    """The vectors of each text's parts, each of length 1: of one part, unless the server finds a text too long."""
    try:
        return [one if isinstance(one, Exception) else [one] for one in await _vectors(server, texts)]
    except (Refused, UnicodeError) as error:
        if len(texts) > 1:  # which of them it was, an answer does not say
            return [one for text in texts for one in await embed(server, [text])]
        if is_too_long(error):
            return [await _or_why(_in_parts(server, texts[0], _HALVINGS, error))]
        return [error]


def portions(texts: Sequence[str]) -> list[Sequence[str]]:
    """The texts as one request each may hold them."""
    return [texts[start : start + _TEXTS] for start in range(0, len(texts), _TEXTS)]


async def _in_parts(server: Server, text: str, halvings: int, refused: Exception) -> list[Vector]:
    """The vectors of a text's parts, which are halves of halves."""
    if not halvings or len(text) < 2:
        raise refused
    middle = len(text) // 2
    cut = text.rfind(" ", 1, middle) + 1 or middle
    found: list[Vector] = []
    for part in (text[:cut], text[cut:]):
        if not part.strip():
            continue
        try:
            (said,) = await _vectors(server, [part])
        except Refused as error:
            if not is_too_long(error):
                raise
            found += await _in_parts(server, part, halvings - 1, error)
        else:
            if isinstance(said, Exception):
                raise said
            found.append(said)
    return found


async def _vectors(server: Server, texts: Sequence[str]) -> list[Vector | Exception]:
    body = {"model": server.endpoint.model, "input": list(texts), "encoding_format": "float"}
    data = await _data(server, "/embeddings", body, len(texts), sum(map(len, texts)))
    return [_of_length_1(one.get("embedding")) for one in data]


def _of_length_1(said: Any) -> Vector | Exception:
    try:
        vector = _finite(said)
    except Unusable as error:
        return error
    length = float(np.linalg.norm(vector))
    if not length:
        return Unusable("the server's embedding is all zeros")
    unit: Vector = (vector / length).astype(np.float32)
    return unit


async def _data(server: Server, path: str, body: Mapping[str, Any], count: int, about: int) -> list[dict[str, Any]]:
    """The `data` of an answer: `count` objects in the order of what was asked, whatever order they came in."""

    async def send(client: AsyncOpenAI) -> list[dict[str, Any]]:
        said = await post(client, path, body)
        server.count(tokens_of(said)[0], 0)
        data = said.get("data")
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            raise Malformed("the answer has no list of results")
        if len(data) != count:
            raise Malformed(f"the answer has {len(data)} results for {count} texts")
        places = [one.get("index", place) for place, one in enumerate(data)]
        if set(map(repr, places)) != set(map(repr, range(count))):
            raise Malformed(f"the answer's results have the indices {places}, for {count} texts")
        return [one for _, one in sorted(zip(places, data, strict=True), key=lambda both: both[0])]

    return await server.ask(send, about // 3)


def _finite(numbers: Any) -> Any:
    """Numbers, in fp64. Raises Unusable for what is none, or not finite."""
    if not isinstance(numbers, list) or not numbers:
        raise Unusable(f"the server said {_short(numbers)}, and no numbers")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise Unusable(f"the server said {_short(number)}, which is no finite number")
    return np.array(numbers, dtype=np.float64)


def _short(said: Any) -> str:
    return repr(said)[:60]
