"""Which replies somebody is asked about, and what they said."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError, nearest
from rsft.parts import StoredParts
from rsft.selection import Rule, Selection, parse_selection
from rsft.selection.certified import Certified
from rsft.selection.pool import Mask, Places, Values, mixed, stable_hash
from rsft.selection.threshold import Threshold
from rsft.store import RunFolder
from rsft.stored import StoredPool
from rsft.types import CandidateKey, Label, Purpose, Word


class Frame:
    """The replies of one iteration that may be labelled, to calibrate a threshold on a scorer.

    A calibration sample is valid where it is drawn as the threshold will be used: after all the selection's other
    rules, one reply of each prompt, at random. So `places` holds, of each prompt, one of the replies that those rules
    leave, in an order that hangs on hashes alone: the first so many of them are a random draw. `scores` (F,) is what
    the scorer said of these.
    """

    def __init__(
        self, folder: RunFolder, recipe: Recipe, scorer: str, iteration: int, stored: StoredParts | None = None
    ) -> None:
        """`stored` is what was read of the iteration, if it was; with other scorers' words it is read anew."""
        fingerprints = folder.noted_scorers()
        if scorer not in fingerprints:
            raise RecipeError(
                f"The run has no scorer '{scorer}' that could be calibrated.{nearest(scorer, fingerprints)} It has "
                f"{', '.join(fingerprints)}."
            )
        self.scorer, self.iteration = scorer, iteration
        selection = parse_selection(at_iteration(recipe, iteration).selection)
        lines = (rule.value for rule in selection.rules if isinstance(rule, Threshold) and rule.score == scorer)
        self.line: float | None = next(lines, None)
        rules = others(selection, scorer)
        if stored is None or stored.fingerprints != fingerprints or not stored.serves(rules):
            stored = StoredParts(folder, iteration, fingerprints, whole=not rules.in_parts)
        self.stored = stored
        # Who is left of each part, a bit a candidate.
        self._left: list[Any] = []
        self.places, self.scores = self._draw(rules)

    def _draw(self, rules: Selection) -> tuple[Places, Values]:
        salt = np.uint64(int(stable_hash("label", self.iteration)[:16], 16))
        drawn = []
        for part, decided in self.stored.decided_by(rules):
            pool, left_N = part.pool, decided.accepted_N
            self._left.append(np.packbits(left_N))
            places = np.flatnonzero(left_N)
            lots, prompts = mixed(pool.lots_N[places] ^ salt), pool.prompt_N[places]
            least_P = np.full(len(pool.prompt_ids), np.iinfo(np.uint64).max)
            np.minimum.at(least_P, prompts, lots)
            first = lots == least_P[prompts]
            places, lots = places[first], lots[first]
            one = np.sort(np.unique(pool.prompt_N[places], return_index=True)[1])
            drawn.append((places[one] + part.start, lots[one], pool.scores[self.scorer][places[one]]))
        places, lots, scores = (np.concatenate(columns) for columns in zip(*drawn, strict=True))
        order = np.argsort(mixed(lots), kind="stable")
        return places[order], scores[order]

    def left(self, part: StoredPool) -> Mask:
        """(N,): whom the rules leave of a part."""
        number = self.stored.number_of(part.start)
        return np.unpackbits(self._left[number], count=len(part.pool)).astype(np.bool_)

    def values(self, scorer: str) -> Values:
        """(F,): what another scorer said of the draw."""
        values = np.empty(len(self.places))
        for part in self.stored:
            own, places = part.among(self.places)
            values[own] = part.pool.scores[scorer][places]
        return values

    @cached_property
    def aimed(self) -> Places:
        """The other replies that the rules leave, those first that are nearest to the line that the recipe draws now
        (without one: to the middle), or on which scorers disagree most. All of them are held at once."""
        drawn = []
        for part in self.stored:
            _, places = part.among(self.places)
            rest_N = self.left(part)
            rest_N[places] = False
            rest = np.flatnonzero(rest_N)
            scores = {name: values_N[rest] for name, values_N in part.pool.scores.items()}
            drawn.append((rest + part.start, part.pool.lots_N[rest], scores))
        rest, lots = (np.concatenate([one[column] for one in drawn]) for column in (0, 1))
        values = {name: np.concatenate([scores[name] for *_, scores in drawn]) for name in self.stored.fingerprints}
        ranks = {name: _ranks(said) for name, said in values.items()}
        doubt = np.abs(ranks[self.scorer] - 0.5 if self.line is None else values[self.scorer] - self.line)
        disagreement = np.std([rank for rank in ranks.values() if len(np.unique(rank)) > 1] or [doubt], axis=0)
        in_order: Places = rest[np.lexsort((lots, _ranks(doubt) - _ranks(disagreement)))]
        return in_order

    def key(self, place: int) -> CandidateKey:
        (key,) = self.stored.keys_of(np.array([place]))
        return key

    def places_of(self, keys: Iterable[CandidateKey]) -> Places:
        """The places of those of some keys that are there."""
        found = self.stored.places_of(list(keys))
        return found[found >= 0]

    def is_left(self, place: int) -> bool:
        """Whether the rules leave the reply at a place."""
        number = self.stored.number_of(place)
        at = place - int(self.stored.starts[number])
        return bool(self._left[number][at // 8] >> (7 - at % 8) & 1)


def others(selection: Selection, scorer: str) -> Selection:
    """The rules but for the lines that they draw on a scorer, and those that are to be certified."""

    def stays(rule: Rule) -> bool:
        return not isinstance(rule, Certified) and not (rule.per_candidate and scorer in rule.scorers_used)

    return Selection([rule for rule in selection.rules if stays(rule)])


@dataclass(frozen=True, slots=True)
class Asked:
    """A reply to be labelled, with what it answers and its scores."""

    key: CandidateKey
    asked: str
    reply: str
    scores: Mapping[str, float]


class Labelling:
    """One labeller at work on a frame: `queue` holds the places that are not labelled yet, in their order."""

    def __init__(self, folder: RunFolder, frame: Frame, labeller: str, purpose: Purpose) -> None:
        if not labeller.strip():
            raise RecipeError("A labeller needs a name (--by NAME).")
        self._folder, self._frame = folder, frame
        self.labeller, self.purpose = labeller, purpose
        # What was asked about as a doubtful case of another scorer is asked about again where it is drawn.
        said = {
            label.key
            for label in folder.labels(iteration=frame.iteration)
            if label.labeller == labeller and (purpose == "aimed" or label.purpose == "calibration")
        }
        places = frame.places if purpose == "calibration" else frame.aimed
        self.queue: list[int] = places[~np.isin(places, frame.places_of(said))].tolist()
        self.labelled = len(places) - len(self.queue)
        self._given: list[int] = []

    def next(self) -> Asked | None:
        """The reply that is asked about now; None when all are labelled."""
        if not self.queue:
            return None
        place = self.queue[0]
        key, (part, at) = self._frame.key(place), self._frame.stored.at(place)
        scores = {name: float(values_N[at]) for name, values_N in part.pool.scores.items()}
        asked = next((one.messages[-1].content for one in self._folder.load_prompts("train", {key.prompt_id})), "")
        return Asked(key, asked, part.texts_of(np.array([at]))[at], scores)

    def say(self, word: Word, loss: float | None = None) -> None:
        """Label it, and go on."""
        place = self.queue.pop(0)
        self._given.append(place)
        self._keep(place, word, loss if word == "graded" else {"good": 0.0, "bad": 1.0}.get(word))

    def undo(self) -> bool:
        """Take back what was said last, and ask again; whether there was anything."""
        if not self._given:
            return False
        place = self._given.pop()
        self.queue.insert(0, place)
        self._keep(place, "undone", None)
        return True

    def say_by_rules(self, rules: Selection, count: int) -> int:
        """Have a verifier label the next ones, and keep that. How many it labelled."""
        labels = self.labels_by_rules(rules, count)
        self._folder.add_labels(labels)
        self.queue = self.queue[len(labels) :]
        return len(labels)

    def labels_by_rules(self, rules: Selection, count: int) -> list[Label]:
        """A verifier's labels of the next ones: good is what its rules accept."""
        some = self.queue[: max(0, count)]
        accepted = self._frame.stored.accepted_at(np.array(some, dtype=np.intp), rules).tolist()
        keys = self._frame.stored.keys_of(np.array(some, dtype=np.intp))
        return [
            Label(key, self.labeller, self.purpose, "good" if good else "bad", float(not good))
            for key, good in zip(keys, accepted, strict=True)
        ]

    def _keep(self, place: int, word: Word, loss: float | None) -> None:
        self._folder.add_labels([self._label(place, word, loss)])

    def _label(self, place: int, word: Word, loss: float | None) -> Label:
        return Label(self._frame.key(place), self.labeller, self.purpose, word, loss)


def take_back(folder: RunFolder, iteration: int, labeller: str, purpose: Purpose) -> CandidateKey | None:
    """Take back what a labeller said last of an iteration's replies, whenever that was; of which one, if there was any
    such label. It is asked about again."""
    said = (one for one in reversed(folder.labels(iteration=iteration)) if one.labeller == labeller)
    last = next((one for one in said if one.purpose == purpose), None)
    if last is None:
        return None
    folder.add_labels([Label(last.key, labeller, purpose, "undone", None)])
    return last.key


def login() -> str:
    """Who labels, unless a name is given."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "me"


def _ranks(values: Values) -> Values:
    """From 0 to 1; equal values have equal ranks, and NaN the middle."""
    from scipy.stats import rankdata

    known = ~np.isnan(values)
    ranks = np.full(len(values), 0.5)
    if known.sum() > 1:
        ranks[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
    return ranks
