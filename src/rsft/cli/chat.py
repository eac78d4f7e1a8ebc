"""A conversation in the terminal, or line by line through a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rsft.wording import size

if TYPE_CHECKING:
    from rsft.talking import Answering, Exchange, Judged, Offer, Talk, Wish

HELP = """\
/retry            draw the last replies again
/score            what the run's scorers say of the last replies
/undo             take the last turn back
/system TEXT      a system message; without TEXT, none
/field NAME=VALUE a field that the recipe's template or a scorer reads; without a VALUE, none
/keep FILE.jsonl  append the conversation, up to your last turn, as a prompt
/help             these commands
/quit             end it, as Ctrl+D does; Ctrl+C stops a reply
A turn that is to begin with / begins with //."""


def talk_in_terminal(run: Path, wish: Wish, *, as_json: bool) -> None:
    """A conversation with the run's models, as they are wished for, until whoever types ends it. Raises a UserError."""
    from rsft.saved import saved_recipe
    from rsft.talking import offered, open_talk

    offer = offered(run, saved_recipe(run))
    print(_loading(offer, wish.speakers, here=wish.here), file=sys.stderr)
    talk = open_talk(run, wish)
    try:
        _Terminal(talk, as_json=as_json).go_on()
    finally:
        talk.close()


def _loading(offer: Offer, names: Sequence[str], *, here: bool) -> str:
    """What is about to be loaded, in a line or two."""
    who = ", ".join(dict.fromkeys(offer.find(name).speaker.name for name in names))
    said = f"Talking to {who}, of {offer.model}"
    if (offer.needs_files or here) and offer.memory is not None:
        said += f": {size(offer.bytes or 0)} to load, at most {size(offer.memory)} in memory"
    elif not offer.needs_files:
        said += f", through the engine {offer.engine}"
    if offer.writer is not None:
        said += f". Process {offer.writer} is at work on this run, on the same machine: both will be slower"
    return said + ". /help lists the commands."


class _Terminal:
    """A conversation with whoever types. A mistake ends a piped one, and is told in one that is typed."""

    def __init__(self, talk: Talk, *, as_json: bool) -> None:
        self.talk, self.conversation = talk, talk.conversation
        self.as_json = as_json
        self.is_typed = sys.stdin.isatty()
        self.commands: Mapping[str, Callable[[str], None]] = {
            "retry": lambda _: self._answer(self.conversation.retry()),
            "score": lambda _: self._score(),
            "undo": lambda _: self._tell("undone", self.conversation.undo()),
            "system": self._system,
            "field": self._field,
            "keep": self._keep,
            "help": lambda _: self._tell("help", HELP),
        }

    def go_on(self) -> None:
        from rsft.errors import UserError

        for line in self._lines():
            if line.strip() in ("/quit", "/exit"):
                break
            try:
                self._do(line)
            except UserError as error:
                if not self.is_typed:
                    raise
                self._tell("error", str(error))

    def _lines(self) -> Iterator[str]:
        if not self.is_typed:
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
            return
        import readline  # noqa: F401  # lines can be edited, and called back

        while True:
            try:
                line = input("" if self.as_json else "you: ")
            except (EOFError, KeyboardInterrupt):
                print(file=sys.stderr)
                return
            if line.strip():
                yield line

    def _do(self, line: str) -> None:
        from rsft.errors import RecipeError, nearest

        if not line.startswith("/") or line.startswith("//"):
            self._answer(self.conversation.say(line.removeprefix("/") if line.startswith("//") else line))
            return
        name, _, rest = line[1:].partition(" ")
        if name not in self.commands:
            raise RecipeError(f"There is no command /{name}.{nearest(name, self.commands)} /help lists them.")
        self.commands[name](rest.strip())

    # -- what commands do --------------------------------------------------------------------------------------------

    def _system(self, text: str) -> None:
        self.conversation.system = text or None
        self._tell("system", text)

    def _field(self, said: str) -> None:
        from rsft.talking import field_of

        name, value = field_of(said)
        if value == "":
            self.conversation.fields.pop(name, None)
        else:
            self.conversation.fields[name] = value
        self._tell("fields", json.dumps(self.conversation.fields, ensure_ascii=False))

    def _keep(self, file: str) -> None:
        from rsft.errors import PromptError
        from rsft.talking import keep_as_prompt

        if not file:
            raise PromptError("Keep it where? Write /keep FILE.jsonl.")
        keep_as_prompt(
            Path(file), self.conversation.asked(self.conversation.speakers[0].name), self.conversation.fields
        )
        self._tell("kept", file)

    def _score(self) -> None:
        for judged in self.talk.judging.judged(self.conversation.last.replies):
            if self.as_json:
                self._line(judged.shown())
            else:
                _print_judged(judged)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _answer(self, answering: Answering) -> None:
        """Tell the replies as they come; Ctrl+C stops them."""
        try:
            self._follow(answering)
        except KeyboardInterrupt:
            answering.stop()
            answering.wait()
            self._end_line()
        self._tell_ends(answering.exchange)

    def _follow(self, answering: Answering) -> None:
        from rsft.cli.console import console, inert

        speaking = ""
        for piece in answering:
            if self.as_json:
                continue
            if piece.speaker != speaking:
                if speaking:
                    self._end_line()
                speaking = piece.speaker
                console.print(f"{speaking}: ", style="bold", end="", soft_wrap=True, markup=False)
            console.print(inert(piece.text), end="", soft_wrap=True)
        if speaking:
            self._end_line()

    def _end_line(self) -> None:
        if not self.as_json:
            typer.echo()

    def _tell_ends(self, exchange: Exchange) -> None:
        """What is to be said of replies once they are whole."""
        for name, reply in exchange.replies.items():
            if self.as_json:
                tokens = len(reply.candidate.token_ids) if reply.candidate else 0
                said = {"turn": len(self.conversation.exchanges), "draw": exchange.draw, "speaker": name}
                said |= {"reply": reply.text, "finish_reason": reply.how, "tokens": tokens, "left_out": reply.left_out}
                self._line(said)
                continue
            notes = {"length": "cut by the length limit (--max-tokens)", "stopped": "stopped"}
            found = [notes[reply.how]] if reply.how in notes else [] if reply.text else ["said nothing"]
            if reply.left_out:
                found.append(f"the oldest {reply.left_out} turns did not fit the model's context and were left out")
            if found:
                self._dim(f"({name}: {'; '.join(found)})")

    def _tell(self, what: str, said: str) -> None:
        if self.as_json:
            self._line({what: said})
        else:
            self._dim(said if what in ("help", "error") else f"({what}: {said or 'none'})")

    def _line(self, said: Mapping[str, Any]) -> None:
        typer.echo(json.dumps(said))  # in ASCII: among other letters are some that steer terminals

    def _dim(self, said: str) -> None:
        from rsft.cli.console import say_unbroken

        say_unbroken(said, style="dim")


def _print_judged(judged: Judged) -> None:
    from rsft.cli.console import console, inert, say_unbroken

    why = f" by {judged.rule}: {judged.explanation}" if judged.verdict != "accepted" else ""
    say_unbroken(f"{judged.speaker}: {judged.verdict}{why}", style="bold")
    for name, score in judged.all_scores.items():
        held_out = " (held out)" if name in judged.heldout_scores else ""
        said = f"can't say: {score.failure}" if score.value is None else f"{score.value:.4g}  {score.explanation}"
        say_unbroken(f"  {name}{held_out}: {said}")
    if judged.needs:
        console.print(
            inert(f"  Missing: {', '.join(judged.needs)}. Give it: /field {judged.needs[0]}=VALUE"), style="dim"
        )
