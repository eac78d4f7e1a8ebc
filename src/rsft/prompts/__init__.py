"""Prompts: from files of many shapes to conversations that await a reply.

    sources ──► rows ──► rsft's names ──► conversation and fields ──► ids ──► template and system message ──► Prompt
    sources.py  read.py  naming.py        columns.py, values.py       load.py framing.py, template.py

Importing this package loads no heavy library; pyarrow, datasets and jinja2 are imported where they are needed.
"""

from __future__ import annotations

from rsft.prompts.load import load_prompts, load_rows, prompts_of
from rsft.prompts.naming import Column
from rsft.prompts.overlap import check_disjoint, shared_conversations

__all__ = ["Column", "check_disjoint", "load_prompts", "load_rows", "prompts_of", "shared_conversations"]
