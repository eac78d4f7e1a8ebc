"""Questions of `rsft init`, and what was said on the command line instead."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from rsft.cli.console import console, say, say_unbroken
from rsft.cli.drafts import print_columns
from rsft.errors import PromptError, RecipeError, UserError
from rsft.prompts.rows import quoted
from rsft.starting import (
    DEFAULT_MODELS,
    DEFAULT_SHARE,
    KINDS,
    Data,
    Draft,
    Kind,
    Reading,
    Wish,
    draft,
    kind_of,
    propose,
    read_data,
)

_HOSTED_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Said:
    """What was said on the command line; None for what was not."""

    file: Path
    kind: str | None
    models: tuple[str, ...]
    data: tuple[str, ...]
    heldout: tuple[str, ...]
    share: float | None
    columns: Mapping[str, str]
    teacher: str | None
    judge: str | None
    url: str | None
    key_env: str | None


class Asker:
    """Asks in a terminal for what was not said. Elsewhere that is a mistake, unless `yes` takes what has a default."""

    def __init__(self, said: Said, *, yes: bool, typed: bool) -> None:
        self.said, self.yes = said, yes
        self.asks = typed and not yes

    def drafted(self) -> tuple[Draft, Data]:
        """A draft, from all that was said and asked, and its data."""
        said = self.said
        kind = self._kind()
        hosted = self._hosted(kind)
        data = self._data()
        reading = self._reading(data, kind)
        models = said.models or self._models()
        data, share = self._heldout(data)
        wish = Wish(kind, said.file, models, share, hosted)
        return draft(wish, data, reading), data

    def confirm_writing(self, drafted: Draft) -> None:
        if self.asks and not self._agrees(f"Write {drafted.wish.file}?"):
            say("Nothing was written.")
            raise typer.Exit

    def _kind(self) -> Kind:
        if self.said.kind is not None:
            return kind_of(self.said.kind)
        if self.asks:
            for number, kind in enumerate(KINDS.values(), 1):
                say(f"  {number}  {kind.name:<13} {kind.title}")
        names = list(KINDS)
        answer = self._ask("What kind of bot?", f"--kind ({', '.join(KINDS)})", check=lambda text: _chosen(text, names))
        return kind_of(_chosen(answer, names))

    def _hosted(self, kind: Kind) -> dict[str, str | None]:
        said = self.said
        if kind.name != "distillation":
            for flag, value in (("teacher", said.teacher), ("judge", said.judge), ("url", said.url)):
                if value is not None:
                    raise RecipeError(f"--{flag} goes with --kind distillation; this is --kind {kind.name}.")
            if said.key_env is not None:
                raise RecipeError(f"--key-env goes with --kind distillation; this is --kind {kind.name}.")
            return {}
        url = said.url or self._ask("Where is the teacher's server?", "--url", default=_HOSTED_URL)
        teacher = said.teacher or self._ask("Which model there is the teacher?", "--teacher")
        judge = said.judge or self._ask("Which model there judges? Another one is fairer.", "--judge", default=teacher)
        key_env = said.key_env or ("OPENAI_API_KEY" if url.rstrip("/") == _HOSTED_URL else None)
        if key_env is None and self.asks:
            key_env = self._ask("Which environment variable holds its key? (Enter: none)", "--key-env", default="")
        return _checked_server({"teacher": teacher, "judge": judge, "url": url, "key_env": key_env or None})

    def _data(self) -> Data:
        if self.said.data:
            return read_data(self.said.data, self.said.heldout)
        read: list[Data] = []

        def look(text: str) -> None:
            read[:] = [read_data([text], self.said.heldout)]

        self._ask("Which data? (a file: JSONL, JSON, CSV, Parquet; or a datasets name)", "--data", check=look)
        return read[0]

    def _reading(self, data: Data, kind: Kind) -> Reading:
        """How the columns are read: as proposed where that is plain, as asked elsewhere."""
        said = dict(self.said.columns)
        if not self.asks:
            reading = propose(data.rows, data.columns, kind, said)
            unsaid = {new: old for new, old in reading.renames.items() if new not in said}
            if unsaid and not self.yes:
                flags = " ".join(f"--column {shlex.quote(f'{new}={old}')}" for new, old in unsaid.items())
                raise PromptError(
                    f"Columns have other names than rsft's: {'; '.join(reading.told())}. Say so: {flags}; --yes takes "
                    "it as proposed, and --column WHAT= leaves one out."
                )
            return reading
        try:
            reading = propose(data.rows, data.columns, kind, said)
        except PromptError as error:
            say(str(error), "yellow")
            return self._corrected(data, kind, None)
        print_columns(data, reading)
        if reading.changes and not self._agrees("Is that right?"):
            return self._corrected(data, kind, reading)
        return reading

    def _corrected(self, data: Data, kind: Kind, proposed: Reading | None) -> Reading:
        """Asks for each column; '-' is none."""
        columns = data.columns
        before = dict(proposed.columns) if proposed else {}
        names = quoted(columns, most=30)

        def check(text: str) -> None:
            if text not in columns and text != "-":
                raise PromptError(f"There is no column '{text}'; the file has {names}. Or - for none.")

        default = before[proposed.conversation] if proposed else None
        column = self._ask(f"Which column is the conversation? ({names})", "--column", default=default, check=check)
        if column not in columns:
            raise PromptError("Without a conversation there is nothing to reply to.")
        said = {("messages" if columns[column].is_turns else "prompt"): column}
        for name in (*kind.fields, "reference"):
            question = f"Which column is the {name}? (- for none)"
            answer = self._ask(question, "--column", default=before.get(name, "-"), check=check)
            said[name] = "" if answer == "-" else answer
        return propose(data.rows, columns, kind, said)

    def _models(self) -> tuple[str, ...]:
        answer = self._ask("Which model? (hub name, folder, package:NAME)", "--model", default=DEFAULT_MODELS[0])
        return DEFAULT_MODELS if answer == DEFAULT_MODELS[0] else (answer,)

    def _heldout(self, data: Data) -> tuple[Data, float]:
        said = self.said
        if said.heldout and said.share is not None:
            raise RecipeError("--heldout and --heldout-share both say what is held out; keep one.")
        if said.heldout or said.share is not None:
            return data, DEFAULT_SHARE if said.share is None else said.share
        found: list[tuple[Data, float]] = []

        def look(text: str) -> None:
            share = _as_share(text)
            found[:] = [(data if share is not None else _with_heldout(data, text), share or DEFAULT_SHARE)]

        self._ask(
            "What is held out? (a share of the rows, or another file)",
            "--heldout FILE or --heldout-share 0.1",
            default=str(DEFAULT_SHARE),
            check=look,
        )
        return found[0]

    def _ask(
        self, question: str, flag: str, default: str | None = None, check: Callable[[str], object] | None = None
    ) -> str:
        """The answer, asked until `check` raises no UserError. Raises RecipeError where there is nobody to ask."""
        if not self.asks:
            if not (self.yes and default is not None):
                instead = f", or take its default, {default}, with --yes" if default else ""
                raise RecipeError(f"There is no terminal to ask in: {question} Say {flag}{instead}.")
            if check is not None:
                check(default)
            return default
        while True:
            say_unbroken(f"{question}{f' [{default}]' if default else ''}", "bold")
            answer = _typed() or default
            if answer is None:
                continue
            try:
                if check is not None:
                    check(answer)
            except UserError as error:
                say(str(error), "yellow")
                continue
            return answer

    def _agrees(self, question: str) -> bool:
        say_unbroken(f"{question} [Y/n]", "bold")
        return _typed().casefold() in ("", "y", "yes")


def _typed() -> str:
    """A line, without white space around it. Raises RecipeError where the input ends."""
    try:
        return input("> ").strip()
    except EOFError:
        console.print()
        raise RecipeError("The input ended before all was answered; nothing was written.") from None


def _with_heldout(data: Data, heldout: str) -> Data:
    """The same data with a file of held-out rows."""
    others = read_data([heldout])
    return Data(data.sources, data.rows, others.sources, others.rows)


def _checked_server(hosted: dict[str, str | None]) -> dict[str, str | None]:
    """The same, if it can stand in a recipe. Raises RecipeError, which never shows what may be a key."""
    from pydantic import ValidationError

    from rsft.config.mistakes import mistakes
    from rsft.servers import Endpoint

    for model in (hosted["teacher"], hosted["judge"]):
        try:
            Endpoint.model_validate({"model": model, "url": hosted["url"], "key_env": hosted["key_env"]})
        except ValidationError as error:
            lines = "\n".join(f"  - {line}" for line in mistakes(error, Endpoint, "a server"))
            raise RecipeError(f"The teacher's server can't be used:\n{lines}") from None
    return hosted


def _chosen(text: str, names: Sequence[str]) -> str:
    """A kind's name, by its number or its name. Raises RecipeError."""
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    return kind_of(text).name


def _as_share(text: str) -> float | None:
    """A number between 0 and 1; None for what is no number. Raises RecipeError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise RecipeError(f"A share is a number between 0 and 1, such as 0.1; found {text}.")
    return share
