"""Texts as vectors, by a model of sentences that is here or behind a server."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsft.models.chat import check_tokenizer
from rsft.models.devices import scoring_dtype
from rsft.models.references import ModelFolder, refuse_pickles
from rsft.scorers.pooling import all_of, embed, portions
from rsft.servers import Server

# Texts whose embeddings are kept: a prompt is asked of for each of its candidates.
_KEPT = 20_000

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class _Kept:
    """The vectors of the texts that were asked for last."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def unknown(self, texts: Sequence[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if text not in self._vectors]

    def __getitem__(self, text: str) -> Vectors:
        return self._vectors[text]

    def keep(self, new: Mapping[str, Vectors]) -> None:
        self._vectors |= new
        while len(self._vectors) > _KEPT:
            self._vectors.popitem(last=False)


class Embedder:
    """A model of sentences in memory. Texts that are longer than its window are cut into parts, not cut off."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept = _Kept()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: ModelFolder, device: str, *, trust_remote_code: bool = False) -> Embedder:
        from sentence_transformers import SentenceTransformer

        refuse_pickles(folder)
        model = SentenceTransformer(
            str(folder.path),
            device=device,
            trust_remote_code=trust_remote_code,
            model_kwargs={"dtype": scoring_dtype(device), "use_safetensors": True},
        )
        check_tokenizer(model.tokenizer, folder.path)
        # Text that spells the model's marks stays text.
        model.tokenizer.split_special_tokens = True
        return cls(model)

    def of(self, texts: Sequence[str]) -> list[Vectors]:
        """The vectors of each text's parts, (parts, D), each of length 1. An empty text has none."""
        with self._lock:
            unknown = self._kept.unknown(texts)
            parts = [self._parts(text) for text in unknown]
            flat = [part for some in parts for part in some]
            vectors = iter(self._model.encode(flat, normalize_embeddings=True, show_progress_bar=False, batch_size=64))
            new = {text: np.array([next(vectors) for _ in some]) for text, some in zip(unknown, parts, strict=True)}
            found = [new[text] if text in new else self._kept[text] for text in texts]
            self._kept.keep(new)
            return found

    def _parts(self, text: str) -> list[str]:
        """The text in parts of as many tokens as the model reads."""
        if not text.strip():
            return []
        window = self._model.max_seq_length
        tokenizer = self._model.tokenizer
        room = (window or 1 << 30) - tokenizer.num_special_tokens_to_add()
        said = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
        starts = [start for start, _ in said["offset_mapping"]]
        if len(starts) <= room:
            return [text]
        cuts = [0, *(starts[place] for place in range(room, len(starts), room)), len(text)]
        return [text[cuts[i] : cuts[i + 1]] for i in range(len(cuts) - 1)]


class ServedEmbedder:
    """A model of sentences behind a server. A text that the server finds too long is cut into halves of halves."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept = _Kept()
        self._lock = threading.Lock()

    def of(self, texts: Sequence[str]) -> list[Vectors | Exception]:
        """The vectors of each text's parts, (parts, D), each of length 1, or why it has none. An empty text has none.

        Raises ServerError where no text will have any.
        """
        with self._lock:
            unknown = self._kept.unknown(texts)
            asked = portions([text for text in unknown if text.strip()])
            answers = all_of(self._server, [embed(self._server, some) for some in asked])
            new: dict[str, Vectors | Exception] = {text: np.array([]) for text in unknown if not text.strip()}
            for some, answer in zip(asked, answers, strict=True):
                said = [answer] * len(some) if isinstance(answer, Exception) else answer
                for text, vectors in zip(some, said, strict=True):
                    new[text] = vectors if isinstance(vectors, Exception) else np.array(vectors)
            found = [new[text] if text in new else self._kept[text] for text in texts]
            self._kept.keep({text: vectors for text, vectors in new.items() if not isinstance(vectors, Exception)})
            return found
