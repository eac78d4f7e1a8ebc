"""The cards of what was exported: those of the report, with its licence, how to load it, and what its columns are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsft.exporting.wanted import Chosen, Wanted
from rsft.report.cards import Beside, dataset_card, model_card
from rsft.report.facts import Facts
from rsft.report.render import fenced, inert_markdown


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was written: `kind` is adapter, weights, merged or gguf. `base` is the name that an adapter stands
    on, `rank` an adapter's greatest, `file` that of GGUF."""

    kind: str
    base: str | None = None
    rank: int | None = None
    file: str | None = None
    everywhere: bool = True


_COLUMNS = {
    "messages": {"messages": "the conversation, with the accepted reply as its last turn"},
    "prompt-completion": {"prompt": "the conversation", "completion": "the accepted reply, as one turn"},
    "sharegpt": {"conversations": "the conversation, with the accepted reply as the last turn"},
    "openai": {"messages": "the conversation, with the accepted reply as its last turn"},
    "dpo": {"prompt": "the conversation", "chosen": "an accepted reply", "rejected": "a rejected one"},
    "kto": {"prompt": "the conversation", "completion": "a reply", "label": "whether it was accepted"},
}
_ORIGIN = {
    "prompt_id, iteration, sample_index, generator": "the candidate in the run",
    "selection": "the set of decisions that decided",
    "scores": "by each scorer; none where it failed",
}
_MORE = {
    "dpo": {
        "prompt_id, iteration": "whose replies they are",
        "rule": "the rule that rejected the one",
        "chosen_key, rejected_key": "the candidates in the run",
        "chosen_scores, rejected_scores": "by each scorer; none where it failed",
    },
    "kto": {**_ORIGIN, "rule": "the rule that decided"},
    "openai": {},
}
_WORSE = (
    "A rejected reply is here where its score was under a line (where no rule is one: where others scored higher) and "
    "it came to its own end; not where there were enough, where it was like another, or where a score failed."
)


def card_of_model(facts: Facts, chosen: Chosen, wanted: Wanted, model: Model, name: str, data: str | None) -> str:
    """`name` is what others load it by, `data` the data set that was pushed beside it."""
    assert chosen.policy is not None
    header: dict[str, Any] = {"library_name": "peft" if model.kind == "adapter" else "transformers"}
    if model.kind == "gguf":
        header["library_name"] = "gguf"
    if model.base is not None and model.everywhere:
        header["base_model"] = model.base
        header["base_model_relation"] = "adapter" if model.kind == "adapter" else "finetune"
    header |= {"license": wanted.licence, "datasets": [data] if data else None}
    return model_card(
        facts,
        Beside(
            iteration=chosen.iteration,
            header=_said(header),
            section=_loading(model, name, facts),
            policy=chosen.policy.hash,
            selection=wanted.selection,
        ),
    )


def card_of_data(facts: Facts, chosen: Chosen, wanted: Wanted, rows: int) -> str:
    columns = {**_COLUMNS[wanted.data], **({} if wanted.plain else _MORE.get(wanted.data, _ORIGIN))}
    lines = [f"- `{name.replace(', ', '`, `')}`: {what}" for name, what in columns.items()]
    turns = (
        "Conversations stand as the model read them, with the recipe's template and system message."
        if wanted.turns == "model"
        else "Conversations stand as users had them, without the recipe's template and system message: the model that "
        "wrote the replies read more."
    )
    drawn = f"Of iteration{'s' * (len(chosen.decided) > 1)} {', '.join(map(str, chosen.decided))}"
    said = [turns, f"{drawn}: {_whose(chosen, wanted)}."]
    if wanted.data in ("dpo", "kto"):
        said.append(_WORSE)
    if wanted.data == "dpo":
        said.append(_paired(wanted))
    paragraphs = [
        f"## Columns\n\n`{wanted.file}`, as `{wanted.data}`:",
        "\n".join(lines),
        inert_markdown(" ".join(said)),
    ]
    header = _said({"license": wanted.data_licence})
    beside = Beside(chosen.iteration, header, "\n\n".join(paragraphs), selection=wanted.selection, rows=rows)
    return dataset_card(facts, beside)


def _whose(chosen: Chosen, wanted: Wanted) -> str:
    if wanted.selection is not None:
        return f"decided by the set {wanted.selection}"
    if chosen.iteration is None:
        return "decided by the run's own rules"
    return f"the policy of iteration {chosen.iteration} has learnt from what was accepted there"


def _paired(wanted: Wanted) -> str:
    if wanted.pairs == "all":
        return "Every accepted reply stands against every rejected one of its prompt and iteration."
    how = "chosen by the run's seed" if wanted.by is None else f"the highest of either side by {wanted.by}"
    return f"One pair of each prompt and iteration that has both, {how}."


def _said(header: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in header.items() if value is not None}


def _loading(model: Model, name: str, facts: Facts) -> str:
    if model.kind == "gguf":
        code = fenced(f"llama-server -m {model.file}", "sh")
    else:
        load = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'model = AutoModelForCausalLM.from_pretrained("{name}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        ]
        serve = f"vllm serve {name}"
        if model.kind == "adapter":
            serve = (
                f"vllm serve {model.base} --enable-lora --max-lora-rank {_rank(model.rank or 1)} "
                f"--lora-modules policy={name}"
            )
        code = f"{fenced(chr(10).join(load), 'python')}\n\n{fenced(serve, 'sh')}"
    note = ""
    if facts.recipe.prompts.template is not None or facts.recipe.prompts.system is not None:
        note = "\n\nWhat it learnt from went through the recipe's template and system message: see below."
    return f"## How to load it\n\n{code}{note}"


def _rank(rank: int) -> int:
    """What vLLM takes for a rank: one of its steps."""
    return next((step for step in (8, 16, 32, 64, 128, 256, 320) if step >= rank), 512)
