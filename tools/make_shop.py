"""Write the bundled demo data: customer-service conversations of Wren & Spoke, a shop of our own invention.

    python tools/make_shop.py --seed 7 --out src/rsft/data

Each row holds a conversation that ends with the customer, the facts that a reply must state, and a reply that states
them. The two splits share no product, person, place or opening, and three intents occur only in held-out, so that
held-out measures the skill of replying with the given facts and not the memory of phrases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from string import Formatter

from dealing import Deck, Row, conversation_text, in_turn, join, write_splits
from shop_phrases import (
    CLOSINGS,
    GREETINGS,
    INTENTS,
    NAMED_STARTS,
    POOLS,
    PREAMBLES,
    REASONS,
    SECOND_WORDS,
    SLOTS,
    Exchange,
    Intent,
)

ROWS = {"train": 280, "heldout": 150}
# Of the nine openings of an intent, train has the first six; the rest are wordings that only held-out asks.
TRAIN_OPENINGS = 6
# An intent that only held-out has gets three times the rows there that another one gets.
HELD_OUT_TURNS = 3

# Whether a chat starts with a preamble, and how often the assistant asks back: 1, 3 or 5 messages; and its weight.
SHAPES = {(False, 0): 18, (True, 0): 10, (False, 1): 30, (True, 1): 22, (False, 2): 20}

PRICE_RANGES = {"bike": (480, 790), "tent": (140, 560), "instrument": (60, 480), "gear": (40, 120)}
HOURS = {"morning": (8, 11), "afternoon": (13, 17), "teatime": (16, 18), "evening": (18, 21)}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# Names of the customer's product: a chat is about one product, however a phrase asks for it.
PRODUCT_SLOTS = frozenset({"PRODUCT", "BIKE", "TENT", "INSTRUMENT", "GEAR", "NOUN"})


class Values(dict[str, str]):
    """The values of one conversation, each drawn when a phrase first names it and kept from then on."""

    def __init__(self, rng: Random, split: str) -> None:
        super().__init__()
        self._rng = rng
        self._pools = POOLS[split]
        # One month, so that dates of one conversation stand in order; one price, so that amounts fit each other.
        self._month = rng.choice(MONTHS)
        self._category = rng.choice(sorted(PRICE_RANGES))
        self._price: float | None = None
        self._height = rng.randrange(156, 196)

    def __missing__(self, slot: str) -> str:
        if slot == "NOUN":
            return self["PRODUCT"].split()[-1]
        if slot == "FIRST":
            return self["NAME"].split()[0]
        kind, _, how = SLOTS[slot].partition(" ")
        draws: dict[str, Callable[[str], str]] = {
            "address": self._address,
            "body": self._body,
            "cash": self._cash,
            "code": self._code,
            "count": self._count,
            "date": self._date,
            "day": lambda _: self._rng.choice(DAYS),
            "email": self._email,
            "money": self._money,
            "number": self._number,
            "percent": lambda _: f"{self._rng.randrange(5, 31, 5)}%",
            "pool": self._pool,
            "product": self._product,
            "time": self._time,
        }
        self[slot] = draws[kind](how)
        return self[slot]

    def _pool(self, name: str) -> str:
        # Two people or two towns of one conversation must differ.
        return self._rng.choice([value for value in self._pools[name] if value not in self.values()])

    def _product(self, category: str) -> str:
        self._category = category or self._category
        product = self._pool(self._category)
        self["PRODUCT"] = product
        return product

    def _code(self, pattern: str) -> str:
        # No I and O, which read like digits.
        draw = {"#": "0123456789", "@": "ABCDEFGHJKLMNPQRSTUVWXYZ"}
        return "".join(self._rng.choice(draw.get(char, char)) for char in pattern)

    def _date(self, when: str) -> str:
        first, last = (5, 14) if when == "early" else (15, 25)
        year = f" {self._rng.randrange(2027, 2030)}" if when == "year" else ""
        return f"{self._rng.randrange(first, last)} {self._month}{year}"

    def _time(self, part: str) -> str:
        hour = self._rng.randrange(*HOURS[part])
        minute = self._rng.choice(("", "", ":15", ":30", ":45"))
        return f"{(hour - 1) % 12 + 1}{minute} {'am' if hour < 12 else 'pm'}"

    def _cash(self, bounds: str) -> str:
        low, high = map(int, bounds.split())
        return f"${self._rng.randrange(low, high)}.{self._rng.choice(('00', '25', '40', '50', '80', '95'))}"

    def _money(self, shares: str) -> str:
        """Between two shares of the product's price, so that a deposit stays below it and the full price above."""
        if self._price is None:
            self._price = self._rng.randrange(*PRICE_RANGES[self._category]) + self._rng.choice((0.0, 0.5, 0.9, 0.95))
        low, high = map(float, shares.split())
        return f"${self._price * self._rng.uniform(low, high):.2f}"

    def _count(self, how: str) -> str:
        low, high, unit = how.split(" ", 2)
        return f"{self._rng.randrange(int(low), int(high))} {unit}"

    def _number(self, how: str) -> str:
        word, low, high = how.split()
        return f"{word} {self._rng.randrange(int(low), int(high))}"

    def _address(self, _: str) -> str:
        return f"{self._rng.randrange(2, 140)} {self._pool('street')}"

    def _email(self, whose: str) -> str:
        if whose == "shop":
            return f"{self._pool('mailbox')}@wrenandspoke.example"
        return f"{self['NAME'].lower().replace(' ', '.')}@mail.example"

    def _body(self, part: str) -> str:
        """Sizes that follow from the rider's height, by the rules of thumb that bicycle shops use."""
        tall = self._height
        return {
            "height": f"{tall} cm",
            "frame": f"{round(0.32 * tall) - 1} cm",
            "saddle": f"{round(0.43 * tall)} cm",
            "range": f"{tall - 4} to {tall + 5} cm",
        }[part]


@dataclass(frozen=True)
class Dealer:
    """An intent with its two decks for one split."""

    intent: Intent
    openings: Deck[str]
    references: Deck[str]


def slots_in(*phrases: str) -> set[str]:
    """The slots that phrases name; all names of the product count as one."""
    names = {name for phrase in phrases for _, name, _, _ in Formatter().parse(phrase) if name}
    return {"PRODUCT" if name in PRODUCT_SLOTS else name for name in names}


def write_chat(rng: Random, intent: Intent, opening: str) -> list[str]:
    """The phrases of a chat, customer and assistant in turn, the last one the customer's."""
    has_preamble, n_exchanges = rng.choices(list(SHAPES), weights=list(SHAPES.values()))[0]
    if rng.random() < 0.6:
        opening = join(rng.choice(intent.backgrounds), opening)
    chat: list[str] = []
    if has_preamble:
        first, answer, bridge = rng.choice(PREAMBLES)
        chat += [first, answer, join(bridge, opening)]
    else:
        greeting = rng.choice(GREETINGS) if rng.random() < 0.35 else ""
        chat += [join(greeting, opening)]
    first_words = intent.first_words
    for reason in rng.sample(REASONS, n_exchanges):
        question, answer = rng.choice(open_exchanges(intent, chat))
        why = reason if rng.random() < 0.5 else ""
        chat += [join(rng.choice(first_words), question, why), answer]
        first_words = SECOND_WORDS
    if n_exchanges and rng.random() < 0.75:
        nudges = [nudge for nudge in intent.nudges if not any(nudge in turn for turn in chat)]
        chat[-1] = join(chat[-1], rng.choice(nudges))
    if rng.random() < 0.2:
        chat[-1] = join(chat[-1], rng.choice(CLOSINGS))
    return chat


def open_exchanges(intent: Intent, chat: list[str]) -> list[Exchange]:
    """The exchanges that ask for nothing the customer has already said, and that were not used."""
    said = slots_in(*chat)
    return [
        (question, answer)
        for question, answer in intent.exchanges
        if not slots_in(answer) & said and not any(question in turn for turn in chat)
    ]


def make_row(rng: Random, split: str, dealer: Dealer) -> Row:
    chat = write_chat(rng, dealer.intent, dealer.openings.deal())
    said = slots_in(*chat)

    def is_grounded(reference: str) -> bool:
        return all(slot in said for slot in slots_in(reference) if slot.isupper())

    reference = dealer.references.deal(is_grounded)
    fact_names = sorted(slot for slot in slots_in(reference) if not slot.isupper())
    rng.shuffle(fact_names)  # the order of the facts must not give away the order of the reply
    if "NAME" in said and rng.random() < 0.5:
        reference = join(rng.choice(NAMED_STARTS), reference)

    values = Values(rng, split)
    turns = [turn.format_map(values) for turn in chat]
    return {
        "intent": dealer.intent.name,
        "messages": in_turn(turns),
        "reference": reference.format_map(values),
        "facts": {name: values[name] for name in fact_names},
    }


def dealers_of(rng: Random, split: str) -> Iterator[Dealer]:
    """The intents of a split, each as often as its share of the rows; endless."""
    dealers: list[Dealer] = []
    for intent in INTENTS:
        openings = intent.openings
        if not intent.held_out:
            openings = openings[:TRAIN_OPENINGS] if split == "train" else openings[TRAIN_OPENINGS:]
        elif split == "train":
            continue
        dealer = Dealer(intent, Deck(rng, openings), Deck(rng, intent.references))
        dealers += [dealer] * (HELD_OUT_TURNS if intent.held_out else 1)
    while True:
        yield from dealers


def make_split(seed: int, split: str, seen: set[str]) -> list[Row]:
    """The rows of a split. `seen` holds the conversations so far, none of which may come again."""
    rng = Random(f"{seed} {split}")
    dealers = dealers_of(rng, split)
    rows: list[Row] = []
    for dealer in dealers:
        if len(rows) == ROWS[split]:
            break
        row = make_row(rng, split, dealer)
        while (text := conversation_text(row)) in seen:
            row = make_row(rng, split, dealer)
        seen.add(text)
        rows.append(row)
    rng.shuffle(rows)
    order = ("id", "intent", "messages", "facts", "reference")
    numbered = ({"id": f"shop-{split}-{number:04d}", **row} for number, row in enumerate(rows, start=1))
    return [{key: row[key] for key in order} for row in numbered]


def make_splits(seed: int) -> dict[str, list[Row]]:
    seen: set[str] = set()
    return {split: make_split(seed, split, seen) for split in ROWS}


if __name__ == "__main__":
    write_splits("Write the bundled shop conversations.", "shop", make_splits)
