"""Prompt files for runs by fakes."""

from __future__ import annotations

import json
from pathlib import Path


def write_questions(**counts: int) -> None:
    """A file of so many prompts for each split, in the working folder."""
    for split, count in counts.items():
        rows = [{"id": f"{split}{i}", "prompt": f"question {i} of {split}"} for i in range(count)]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
