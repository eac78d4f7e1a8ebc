"""Write the bundled assistant data: everyday requests with constraints that a rule can check, and calls of tools.

    python tools/make_assistant.py --seed 7 --out src/rsft/data

Each row ends with a request. One half asks for something to be written, in a form that the request names; the
other must be answered with a call of a tool in JSON. `constraints` holds what the scorer `constraints` checks, and
`reference` a reply that keeps all of it. The two splits share no wording of a request, of a form or of a reply's topic,
and no person, place or thing; some kinds of request and some tools occur only in held-out.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from string import Formatter
from typing import Any

from assistant_phrases import AVOIDED, COMMON, FORMS, NUMBERS, POOLS, TASKS, TOOL_INTROS, TOOLS, Task, Tool
from dealing import Row, in_turn, write_splits

ROWS = {"train": 260, "heldout": 160}
# So many of a kind's requests, from the end, are held-out's; a kind that only held-out has keeps all of them.
HELD_OUT_REQUESTS = 2
# A kind that only held-out has gets so many times the rows there that another one gets.
HELD_OUT_TURNS = 2
# Of the requests to write something, so many come behind another one of their kind and its reply.
SHOWN = 1 / 2
# How many forms are asked for at once, and how often.
FORM_COUNTS = {1: 3, 2: 2}

RANGES = {"minutes": range(4, 58), "degrees": range(16, 26), "count": range(2, 10)}


class Values(dict[str, Any]):
    """The values of one request, each drawn when a phrase first names it. `taken` are those of another exchange."""

    def __init__(self, rng: Random, split: str, taken: "Values | None" = None) -> None:
        super().__init__()
        self._rng = rng
        self._pools = POOLS[split]
        self._taken = set(taken.values()) if taken else set()

    def __missing__(self, slot: str) -> Any:
        self[slot] = value = self._drawn(slot)
        return value

    def _drawn(self, slot: str) -> Any:
        if slot == "Subject":
            return self["subject"].title()
        if slot == "time":
            minute = ("00", "15", "30", "45")
            return f"{self._rng.randrange(1, 13)}:{self._rng.choice(minute)} {self._rng.choice('ap')}m"
        pool = RANGES.get(slot) or self._pools[slot]
        return self._rng.choice([value for value in pool if value not in self._taken])


@dataclass
class Exchange:
    """A request as it is typed, its core without the forms, what is asked of the reply, and a reply that keeps it."""

    request: str
    core: str
    constraints: dict[str, Any]
    reference: str
    values: Values
    phrase: str = ""  # of which the reply was made


def requests_of(kind: Task | Tool, split: str) -> tuple[str, ...]:
    if kind.held_out:
        return kind.requests if split == "heldout" else ()
    return kind.requests[:-HELD_OUT_REQUESTS] if split == "train" else kind.requests[-HELD_OUT_REQUESTS:]


def slots_in(phrase: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(phrase) if name}


# -- What is to be written ---------------------------------------------------------------------------------------------


def write(rng: Random, split: str, task: Task, form: str | None = None, other: Exchange | None = None) -> Exchange:
    """A request to write something; with `form`, one that asks for this form. It repeats nothing of `other`."""
    values = Values(rng, split, other and other.values)
    template = rng.choice(requests_of(task, split))
    must: set[str] = set()
    if task.topics:
        values["topic"] = topic = rng.choice([t for t in task.topics[split] if t not in values._taken])
        replies = task.topics[split][topic]
        phrase = "\n".join(rng.sample(replies, rng.randrange(2, 5))) if task.lines else rng.choice(replies)
    else:
        must = set.intersection(*(slots_in(reference.lower()) for reference in task.references))
        phrase = rng.choice([reference for reference in task.references if not other or reference != other.phrase])
    content = phrase.format_map(values)
    core = template.format_map(values)
    asked = Asked(rng, split, core, content, values.get("topic", ""))
    asked.keywords += [*task.must, *(values[slot] for slot in sorted(must))]
    asked.forbidden.append(" ".join(core.split()[:3]))
    for name in forms_of(rng, task, asked, form):
        getattr(asked, name)()
    instruction = " ".join(asked.said)
    return Exchange(f"{core} {instruction}", core, asked.constraints, asked.reference, values, phrase)


def forms_of(rng: Random, task: Task, asked: "Asked", form: str | None) -> list[str]:
    """The forms that a request asks for: those that the task always has, and others that its reply can keep."""
    if task.lines:
        return ["bullets"]
    # A topic's reply says something of its own: a word of it is asked for, or nearly anything would do.
    needed = [form] if form else ["word"] if task.topics else []
    weights = {"most_words": 2, "word": 2, "begin": 1, "no_word": 1}
    if task.quotable:
        weights["quoted"] = 6
    else:
        weights |= {"sentences": 4, "lowercase": 1}
        if "?" in asked.reference:
            weights["question"] = 2
    if "," not in asked.reference:
        weights["no_commas"] = 3
    count = rng.choices(list(FORM_COUNTS), list(FORM_COUNTS.values()))[0]
    while len(needed) < count:
        name = rng.choices(list(weights), list(weights.values()))[0]
        if name not in needed:
            needed.append(name)
    return sorted(needed, key=ORDER.index)


# Forms that change the reply come last, and a reply in lower case begins and ends as it did.
ORDER = [
    *("sentences", "bullets", "word", "begin", "question"),
    *("no_commas", "no_word", "most_words", "quoted", "lowercase"),
]


class Asked:
    """What is asked of a reply, form by form: how the request says it, how the scorer says it, and what keeps it."""

    def __init__(self, rng: Random, split: str, core: str, content: str, topic: str = "") -> None:
        self._rng, self._split, self._core, self._topic = rng, split, core, topic
        self.reference = content
        self.said: list[str] = []
        self.keywords: list[str] = []
        self.forbidden: list[str] = []
        self._forms: dict[str, Any] = {}

    @property
    def constraints(self) -> dict[str, Any]:
        lists = {"keywords": self.keywords, "forbidden": self.forbidden}
        return self._forms | {name: phrases for name, phrases in lists.items() if phrases}

    def _say(self, form: str, **values: Any) -> None:
        self.said.append(self._rng.choice(FORMS[form][self._split]).format_map(values))

    def sentences(self) -> None:
        count = len(re.findall(r"[.!?](?:\s|$)", self.reference))
        self._say("one sentence" if count == 1 else "two sentences")
        self._forms["sentences"] = count

    def bullets(self) -> None:
        items = self.reference.split("\n")
        start = f"For {self._topic}"
        self.reference = "\n".join([f"{start}:", *(f"- {item}" for item in items)])
        self._say("begin", start=start)
        self._say("bullets", n=NUMBERS[len(items)])
        self._forms |= {"starts_with": start, "bullets": len(items), "paragraphs": 1}

    def most_words(self) -> None:
        most = -(-(len(self.reference.split()) + 2) // 5) * 5
        self._say("most words", n=most)
        self._forms["words"] = {"least": 2, "most": most}

    def word(self) -> None:
        known = set(re.findall(r"\w+", self._core.lower())) | set(COMMON.split())
        found = [w for w in re.findall(r"[^\W\d_]+", self.reference.lower()) if len(w) > 3 and w not in known]
        if found:  # else nothing in it is its own
            self.keywords.append(self._rng.choice(found))
            self._say("word", word=self.keywords[-1])

    def begin(self) -> None:
        start = re.match(r"[\w']+", self.reference)
        assert start
        self._say("begin", start=start[0])
        self._forms["starts_with"] = start[0]

    def question(self) -> None:
        self._say("question")
        self._forms["ends_with"] = "?"

    def no_commas(self) -> None:
        self._say("no commas")
        self._forms["no_commas"] = True

    def no_word(self) -> None:
        word = self._rng.choice([word for word in AVOIDED if word not in self.reference.lower()])
        self._say("no word", word=word)
        self.forbidden.append(word)

    def quoted(self) -> None:
        self.reference = f'"{self.reference}"'
        self._say("quoted")
        self._forms["quoted"] = True
        if "starts_with" in self._forms:
            self._forms["starts_with"] = f'"{self._forms["starts_with"]}'

    def lowercase(self) -> None:
        self.reference = self.reference.lower()
        self._say("lowercase")
        self._forms["case"] = "lower"


# -- Calls of tools ----------------------------------------------------------------------------------------------------


def call(rng: Random, split: str, tool: Tool, other: Values | None = None) -> Exchange:
    """A request that a tool serves, and its call. The schema allows this call and no other."""
    values = Values(rng, split, other)
    request = rng.choice(requests_of(tool, split)).format_map(values)
    said = {"tool": tool.name} | {argument: values[slot] for argument, slot in tool.arguments.items()}
    schema = {
        "type": "object",
        "properties": {name: {"const": value} for name, value in said.items()},
        "required": list(said),
        "additionalProperties": False,
    }
    return Exchange(request, request, {"json_schema": schema}, json.dumps(said), values)


def signature(tool: Tool) -> str:
    return f"{tool.name}({', '.join(tool.arguments)})"


# -- Rows --------------------------------------------------------------------------------------------------------------


def turns(*exchanges: Exchange) -> list[dict[str, str]]:
    """The conversation, whose last request awaits its reply."""
    return in_turn([text for one in exchanges for text in (one.request, one.reference)][:-1])


def tool_row(rng: Random, split: str, tool: Tool) -> Row:
    """Two tools, a call of each, and the request: which tool is right, and what it takes, must be seen from these."""
    other = rng.choice([one for one in TOOLS if requests_of(one, split) and one is not tool])
    listed = ", ".join(signature(one) for one in rng.sample((tool, other), k=2))
    before = [call(rng, split, other), call(rng, split, tool)]
    asked = call(rng, split, tool, before[1].values)
    intro = rng.choice(TOOL_INTROS[split]).format(tools=listed)
    before = rng.sample(before, len(before))
    return row(tool.name, asked, [{"role": "system", "content": intro}, *turns(*before, asked)])


def text_row(rng: Random, split: str, task: Task) -> Row:
    """The request, maybe behind another of its kind; lists and lower case always behind one that shows them."""
    asked = write(rng, split, task)
    form = "lowercase" if asked.constraints.get("case") else None
    if form is None and not task.lines and rng.random() >= SHOWN:
        return row(task.name, asked, turns(asked))
    return row(task.name, asked, turns(write(rng, split, task, form, asked), asked))


def row(kind: str, asked: Exchange, messages: list[dict[str, str]]) -> Row:
    return {
        "kind": kind,
        "messages": messages,
        "request": asked.core,
        "constraints": asked.constraints,
        "reference": asked.reference,
    }


def kinds_of(split: str) -> Iterator[Task | Tool]:
    """A task, then a tool, and again; each as often as its share of the rows. Endless."""

    def dealt(kinds: tuple[Any, ...]) -> Iterator[Any]:
        while True:
            for one in kinds:
                yield from [one] * ((HELD_OUT_TURNS if one.held_out else 1) if requests_of(one, split) else 0)

    tasks, tools = dealt(TASKS), dealt(TOOLS)
    while True:
        yield from (next(tasks), next(tools))


def make_split(seed: int, split: str) -> list[Row]:
    """The rows of a split, no two with the same conversation."""
    rng = Random(f"{seed} {split}")
    rows: dict[str, Row] = {}
    for kind in kinds_of(split):
        if len(rows) == ROWS[split]:
            break
        for _ in range(20):  # a kind with few values may have used them up
            made = tool_row(rng, split, kind) if isinstance(kind, Tool) else text_row(rng, split, kind)
            if (text := json.dumps(made["messages"])) not in rows:
                rows[text] = made
                break
    shuffled = rng.sample(list(rows.values()), len(rows))
    return [{"id": f"assistant-{split}-{number:04d}", **one} for number, one in enumerate(shuffled, start=1)]


def make_splits(seed: int) -> dict[str, list[Row]]:
    return {split: make_split(seed, split) for split in ROWS}


if __name__ == "__main__":
    write_splits("Write the bundled assistant data.", "assistant", make_splits)
