"""The bundled conversations, and what writes them."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "rsft" / "data"
SPLITS = ("train", "heldout")
GENERATORS = {
    "shop": "make_shop.py",
    "assistant": "make_assistant.py",
    "character": "make_characters.py",
    "social": "make_social.py",
}

Row = dict[str, Any]


@cache
def rows(name: str, split: str) -> list[Row]:
    with gzip.open(DATA / f"{name}.{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
