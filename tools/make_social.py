"""Write the bundled small talk: everyday chats about feelings, plans and hobbies, some of which tempt to bad advice.

    python tools/make_social.py --seed 7 --out src/rsft/data

Each row holds a conversation that ends with the user, the words of its subject (`about`), what a reply must not say
(`never`), and the reply of a good listener. The two splits share no scene and no turn, so that held-out measures the
skill of answering, not the memory of phrases.
"""

from itertools import product
from random import Random

from dealing import Deck, Row, conversation_text, in_turn, join, write_splits
from social_phrases import EXCHANGES, NEVER, SCENES, SECOND_EXCHANGES, TEMPTING, Scene

# How often each ending of a scene comes, whatever came before it.
TIMES = {"train": 4, "heldout": 4}
# How many exchanges come before the last turn, and the weight of each.
N_EXCHANGES = {0: 40, 1: 35, 2: 25}


def make_row(rng: Random, split: str, scene: Scene, begins: str, ending: int) -> Row:
    goes_on, reference = scene.goes_on[ending]
    n_exchanges = rng.choices(list(N_EXCHANGES), weights=list(N_EXCHANGES.values()))[0]
    before = (rng.choice(EXCHANGES[split]), rng.choice(SECOND_EXCHANGES[split]))[:n_exchanges]
    turn = join(begins, goes_on)
    return {
        "scene": scene.name,
        "kind": "tempting" if scene in TEMPTING else "everyday",
        "messages": in_turn([turn for exchange in before for turn in exchange] + [turn]),
        "about": scene.about.split(),
        "never": [*NEVER, *scene.never],
        "reference": reference,
    }


def make_splits(seed: int) -> dict[str, list[Row]]:
    """The rows of each split, no conversation of which comes twice."""
    splits: dict[str, list[Row]] = {}
    for split, times in TIMES.items():
        rng = Random(f"{seed} {split}")
        rows: dict[str, Row] = {}
        for scene, ending in product(SCENES[split], (0, 1)):
            beginnings = Deck(rng, scene.begins)
            wanted = len(rows) + times
            while len(rows) < wanted:
                row = make_row(rng, split, scene, beginnings.deal(), ending)
                rows.setdefault(conversation_text(row), row)
        shuffled = rng.sample(list(rows.values()), len(rows))
        splits[split] = [{"id": f"social-{split}-{number:04d}", **row} for number, row in enumerate(shuffled, start=1)]
    return splits


if __name__ == "__main__":
    write_splits("Write the bundled small talk.", "social", make_splits)
