"""Export what a run made: check it, write it aside, and give it its place, or push it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.config import Recipe
from rsft.config.schedule import at_iteration
from rsft.errors import RecipeError, RunError, SelectionError, nearest
from rsft.exporting import cards, hub
from rsft.exporting.bases import base_of, refuse_nameless
from rsft.exporting.decided import Answered, Decided
from rsft.exporting.folder import MARK, check_free, written
from rsft.exporting.pairs import Judging, comparisons, labelled, lines, pairs_of
from rsft.exporting.rows import Row, rows_of
from rsft.exporting.tables import write_rows
from rsft.exporting.wanted import Chosen, Wanted, as_said, choose
from rsft.models.student import Student
from rsft.participants import student_of
from rsft.report.facts import Facts
from rsft.saved import saved_recipe
from rsft.selection import parse_selection
from rsft.store import RunFolder
from rsft.version import __version__

CARD = "README.md"

_MISSING = {
    "dpo": "no prompt has both an accepted reply and one that is worse by its score",
    "kto": "there are no replies of both kinds, accepted and under a line of the rules",
}


@dataclass(frozen=True, slots=True)
class Push:
    """To which name on the hub: the model, and a data set of the same name."""

    repository: str
    private: bool = False


def export(run: Path, to: Path, wanted: Wanted, *, force: bool = False, to_hub: Push | None = None) -> dict[str, Any]:
    """Write `TO/model` and `TO/data`, each with its card, and `TO/export.json`: what they are. The run is only read,
    and may be at work. With `to_hub` both are pushed, once they are whole.

    Returns what export.json says, with the addresses of what was pushed. Raises a UserError, and leaves nothing behind
    then, but for an export that is whole and could not be pushed.
    """
    recipe = saved_recipe(run)
    check_free(to, run, force=force)
    if to_hub is not None:
        hub.check_push(to_hub.repository)
    facts = Facts.read(run, 0)
    with RunFolder.open(run, write=False) as folder:
        making = _Making(folder, recipe, wanted, facts, choose(folder, recipe, wanted), to_hub)
        with written(to) as aside:
            said: dict[str, Any] = {
                "rsft": __version__,
                "run": facts.name,
                "state": facts.state,
                "iteration": making.chosen.iteration,
                "model": making.model(aside / "model") if wanted.model != "none" else None,
                "data": making.data(aside / "data") if wanted.data != "none" else None,
                "notes": making.notes,
                "asked": as_said(wanted),
            }
            (aside / MARK).write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    said = {"folder": str(to), **said, "pushed": {}}
    for kind, part in (("model", "model"), ("dataset", "data")):
        if to_hub is not None and said[part] is not None:
            said["pushed"][part] = _pushed(to, part, kind, to_hub, force=force)
    return said


def _pushed(to: Path, part: str, kind: Any, to_hub: Push, *, force: bool) -> str:
    try:
        return hub.push(to / part, to_hub.repository, kind, private=to_hub.private, force=force)
    except RunError as error:
        raise RunError(f"{error} What was exported is whole in {to}.") from None


class _Making:
    """What one export makes."""

    def __init__(
        self, folder: RunFolder, recipe: Recipe, wanted: Wanted, facts: Facts, chosen: Chosen, to_hub: Push | None
    ) -> None:
        self.folder, self.recipe, self.wanted, self.facts, self.chosen = folder, recipe, wanted, facts, chosen
        self.to_hub = to_hub
        self.notes: list[str] = []
        self._accepted = 0
        if wanted.by is not None and wanted.by not in recipe.scorers:
            known = ", ".join(recipe.scorers)
            raise RecipeError(f"--by {wanted.by}: the scorers are {known}.{nearest(wanted.by, recipe.scorers)}")

    # -- the model ---------------------------------------------------------------------------------------------------

    def model(self, where: Path) -> dict[str, Any]:
        from rsft.exporting import weights

        policy = self.chosen.policy
        assert policy is not None
        student = student_of(self.recipe)
        weights.check_policy(student, policy)
        where.mkdir()
        model = self._write(student, where)
        data = self.to_hub.repository if self.to_hub and self.wanted.data != "none" else None
        name = self.to_hub.repository if self.to_hub else "model"
        _put(where / CARD, cards.card_of_model(self.facts, self.chosen, self.wanted, model, name, data))
        return {
            "kind": model.kind,
            "policy": policy.hash,
            "base": {"name": model.base, "reference": student.folder.reference, "hash": student.base.hash},
            "licence": self.wanted.licence,
        }

    def _write(self, student: Student, where: Path) -> cards.Model:
        from rsft.exporting import gguf, weights

        policy, kind = self.chosen.policy, self.wanted.model
        assert policy is not None
        base = base_of(student, self.wanted.base)
        if kind == "adapter" and policy.adapter is None:
            raise RecipeError("The run trained whole weights, and no adapter: --model trained or --model merged.")
        if kind == "trained":
            kind = "merged" if policy.adapter and base.name is None else "adapter" if policy.adapter else "trained"
            if kind == "merged":
                self.notes.append(f"{base.note} So the whole model was exported, not the adapter.")
        if kind == "adapter":
            name = refuse_nameless(base, student.folder.reference)
            if self.to_hub is not None and not base.everywhere:
                raise RecipeError(
                    f"The adapter stands on {name}, which nobody else has. Push the whole model (--model merged), or "
                    "name the same base as the hub has it (--base ORG/NAME)."
                )
            self.notes += [base.note] if base.note else []
            weights.write_adapter(student, policy, name, where)
            return cards.Model("adapter", name, weights.adapter_rank(where), everywhere=base.everywhere)
        if kind == "trained":
            weights.write_weights(student, policy, where)
            return cards.Model("weights", base.name, everywhere=base.everywhere)
        if kind == "merged":
            weights.write_merged(student, policy, where)
            return cards.Model("merged", base.name, everywhere=base.everywhere)
        command = gguf.converter(self.wanted.converter)
        whole, file = where.with_name("whole"), f"{self.facts.name}.gguf"
        whole.mkdir()
        weights.write_merged(student, policy, whole)
        gguf.convert(command, whole, where / file)
        shutil.rmtree(whole)
        return cards.Model("gguf", base.name, file=file, everywhere=base.everywhere)

    # -- the rows ----------------------------------------------------------------------------------------------------

    def data(self, where: Path) -> dict[str, Any]:
        where.mkdir()
        count = write_rows(where / self.wanted.file, self._rows(), list(self.folder.noted_scorers()))
        if count == 0 or (self.wanted.data == "kto" and count == self._accepted):
            missing = _MISSING.get(self.wanted.data, "nothing was accepted")
            raise SelectionError(f"No rows for {self.wanted.data}: {missing}. Without rows: --data none.")
        if self.wanted.data == "openai" and (left_out := self._accepted - count):
            self.notes.append(f"{left_out:,} replies were left out: OpenAI's format can't hold them.")
        _put(where / CARD, cards.card_of_data(self.facts, self.chosen, self.wanted, count))
        return {
            "kind": self.wanted.data,
            "file": self.wanted.file,
            "rows": count,
            "iterations": list(self.chosen.decided),
            "selection": self.wanted.selection,
            "licence": self.wanted.data_licence,
        }

    def _rows(self) -> Iterator[Row]:
        kind = self.wanted.data
        for iteration, name in self.chosen.decided.items():
            decided = Decided(self.folder, iteration, name)
            rules = self._judging(iteration, name) if kind in ("dpo", "kto") else {}
            for answered in decided.answered(accepted_only=kind not in ("dpo", "kto")):
                self._accepted += sum(told.accepted for one in answered for told in one.replies)
                yield from self._shaped(answered, name, rules)

    def _shaped(self, answered: list[Answered], name: str, rules: Judging) -> Iterator[Row]:
        wanted, turns, plain = self.wanted, self.wanted.turns, self.wanted.plain
        if wanted.data == "dpo":
            every, seed = wanted.pairs == "all", self.recipe.seed
            return pairs_of(answered, rules, turns, every=every, by=wanted.by, seed=seed, plain=plain)
        if wanted.data == "kto":
            return labelled(answered, rules, turns, name, plain=plain)
        return rows_of(answered, wanted.data, turns, name, plain=plain)

    def _judging(self, iteration: int, name: str) -> Judging:
        """The rules of a set by which a reply is worse than another, or bad in itself."""
        said = self.folder.selections().get(name) or at_iteration(self.recipe, iteration).selection
        return (comparisons if self.wanted.data == "dpo" else lines)(parse_selection(said))


def _put(file: Path, text: str) -> None:
    # Half a character of a text (a lone surrogate) can't be written: it is spelled out.
    file.write_bytes(text.encode("utf-8", "backslashreplace"))
