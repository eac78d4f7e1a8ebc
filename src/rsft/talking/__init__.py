"""Talking to a run's models: the base, and what an iteration trained, side by side.

    speakers.py  ──►  opening.py  ──►  conversation.py  ──►  judging.py, as_prompt.py
    who can speak     load them        turns and replies     what scorers say; a prompt of it

Nothing heavy is imported before a conversation is opened.
"""

from __future__ import annotations

from rsft.talking.as_prompt import field_of, keep_as_prompt
from rsft.talking.conversation import Answering, Conversation, Exchange, Piece, Reply
from rsft.talking.judging import Judged, Judging
from rsft.talking.opening import Talk, Wish, open_talk
from rsft.talking.speakers import BEST, Offer, Offered, Speaker, offered

__all__ = [
    "BEST",
    "Answering",
    "Conversation",
    "Exchange",
    "Judged",
    "Judging",
    "Offer",
    "Offered",
    "Piece",
    "Reply",
    "Speaker",
    "Talk",
    "Wish",
    "field_of",
    "keep_as_prompt",
    "offered",
    "open_talk",
]
