"""Write the bundled characters: conversations of people with invented characters, each with a persona.

    python tools/make_characters.py --seed 7 --out src/rsft/data

Each row holds a persona in sentences, a conversation that ends with a question about one or two of its facts, which
these are (`asked`), which they are not (`unasked`), and a reply in the character's voice that states what was asked.
The two splits share no character, no wording of a question and no small talk, so that held-out measures the skill of
speaking for whoever the persona describes.
"""

from itertools import cycle
from random import Random

from character_phrases import (
    CHARACTERS,
    GREETINGS,
    QUESTIONS,
    REMARKS,
    SECOND_STARTS,
    SMALL_TALK,
    TRAIN_QUESTIONS,
    Character,
)
from dealing import Deck, Row, conversation_text, in_turn, join, write_splits

ROWS = {"train": 240, "heldout": 150}
TWO_QUESTIONS = 0.3
# How many facts a persona tells that are not asked for.
OTHERS = 3
# How many exchanges of small talk come before the question, and the weight of each.
EXCHANGES = {0: 30, 1: 40, 2: 30}


class Asking:
    """The decks of one split: each topic's wordings, and what is said around them."""

    def __init__(self, rng: Random, split: str) -> None:
        self.rng = rng
        self.split = split
        part = slice(TRAIN_QUESTIONS) if split == "train" else slice(TRAIN_QUESTIONS, None)
        self.wordings = {topic: Deck(rng, wordings[part]) for topic, wordings in QUESTIONS.items()}
        self.remarks = Deck(rng, REMARKS[split])
        self.topics = Deck(rng, tuple(QUESTIONS))

    def question(self, topics: list[str]) -> str:
        first, *rest = (self.wordings[topic].deal() for topic in topics)
        return join(first, *(join(self.rng.choice(SECOND_STARTS[self.split]), _continued(second)) for second in rest))


def _continued(question: str) -> str:
    """A question that follows on other words of its sentence."""
    first = question.split(maxsplit=1)[0]
    return question if first in ("I", "I'm") else question[0].lower() + question[1:]


def _cue(told: str) -> str:
    """A sentence of the persona as it follows on "that"."""
    return told[0].lower() + told[1:].removesuffix(".")


def write_chat(asking: Asking, character: Character, topics: list[str]) -> list[str]:
    """The turns of a chat, the user's and the character's in turn, the last one the user's."""
    rng, split = asking.rng, asking.split
    n_exchanges = rng.choices(list(EXCHANGES), weights=list(EXCHANGES.values()))[0]
    chat: list[str] = []
    places = sorted(rng.sample(range(len(SMALL_TALK[split])), n_exchanges))
    for place in places:
        turn = rng.choice(SMALL_TALK[split][place])
        chat += [join(asking.remarks.deal(), turn) if chat else turn, character.small[place]]
    start = asking.remarks.deal() if chat else rng.choice(("", *GREETINGS[split]))
    return [*chat, join(start, asking.question(topics))]


def make_row(asking: Asking, character: Character) -> Row:
    topics = [asking.topics.deal()]
    if asking.rng.random() < TWO_QUESTIONS:
        topics.append(asking.topics.deal(lambda topic: topic not in topics))
    others = [topic for topic in character.facts if topic not in (*topics, "name")]
    asked = [topic for topic in topics if topic != "name"]
    known = asked + asking.rng.sample(others, OTHERS)
    asking.rng.shuffle(known)  # where a fact stands must not give it away
    return {
        "character": character.name,
        "messages": in_turn(write_chat(asking, character, topics)),
        "persona": join(
            character.facts["name"].told, character.role, *(character.facts[topic].told for topic in known)
        ),
        "tell": " and ".join(_cue(character.facts[topic].told) for topic in topics),
        "asked": {topic: character.facts[topic].value for topic in topics},
        "unasked": {topic: character.facts[topic].value for topic in known if topic not in topics},
        "reference": join(*(character.facts[topic].reply for topic in topics)),
    }


def make_splits(seed: int) -> dict[str, list[Row]]:
    """The rows of each split, no conversation of which comes twice."""
    splits: dict[str, list[Row]] = {}
    seen: set[str] = set()
    for split, count in ROWS.items():
        asking = Asking(Random(f"{seed} {split}"), split)
        rows: list[Row] = []
        characters = cycle(CHARACTERS[split])
        while len(rows) < count:
            row = make_row(asking, next(characters))
            text = f"{row['persona'][:40]} {conversation_text(row)}"
            if text not in seen:
                seen.add(text)
                rows.append(row)
        asking.rng.shuffle(rows)
        splits[split] = [{"id": f"character-{split}-{number:04d}", **row} for number, row in enumerate(rows, start=1)]
    return splits


if __name__ == "__main__":
    write_splits("Write the bundled characters.", "character", make_splits)
