"""What a recipe may say. Every key has a default but `model`, `prompts.train`, `scorers` and `selection`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from rsft.config.cluster import ClusterSection
from rsft.config.guards import GuardsSection
from rsft.config.section import OneOrMore, PlugIn, Section, as_list
from rsft.config.store import StoreSection
from rsft.config.tracking import Tracking, TrackingSection
from rsft.types import SamplingParams

# Where a temperature is to be tuned, and one is needed before that.
USUAL_TEMPERATURE = 0.7


class ColumnSection(Section):
    """A column of the data, or the end of its texts. A name alone is the column."""

    column: str = Field(min_length=1, description="The column's name in the data.")
    behind: str | None = Field(
        None, min_length=1, description="Take only what stands behind the last such text, where there is one: '####'."
    )


def _as_column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class PromptsSection(Section):
    """The conversations that await a reply."""

    train: OneOrMore = Field(
        description="Files (JSONL, JSON, CSV, Parquet) or a datasets name, to sample and learn from."
    )
    heldout: OneOrMore | None = Field(None, description="The same for evaluation; never sampled for training.")
    template: str | dict[str, str] | None = Field(
        None, description="Jinja that renders a row's fields into the last turn; or a mapping with 'system' and 'user'."
    )
    system: str | None = Field(None, description="A system message for conversations that have none.")
    columns: dict[str, Annotated[ColumnSection, BeforeValidator(_as_column)]] = Field(
        {},
        description="What the data calls its columns, by rsft's words: {prompt: question, answer: {column: answer, "
        "behind: '####'}}. Rows without the conversation's column are read as they stand.",
    )
    train_limit: int | None = Field(None, ge=1, description="Take only this many rows.")
    heldout_limit: int | None = Field(None, ge=1, description="Take only this many rows.")


class SamplingSection(Section):
    """How candidates are drawn."""

    candidates: int = Field(
        8, ge=1, description="Candidates for each prompt in an iteration, where the budget does not decide otherwise."
    )
    temperature: Annotated[float, Field(ge=0)] | Literal["tune"] = Field(
        0.7,
        description="0 is greedy. tune: before each iteration, the one of a few at which most different replies are "
        "accepted, of some train prompts.",
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Keep the likeliest tokens that together have this probability; 1 keeps all."
    )
    top_k: int = Field(0, ge=0, description="0 keeps the whole vocabulary.")
    max_tokens: int = Field(256, ge=1, description="A reply's most tokens, its end-of-turn token included.")
    min_p: float = Field(0.0, ge=0, lt=1, description="Cut tokens less than so many times as likely as the likeliest.")
    repetition_penalty: float = Field(1.0, gt=0, description="Above 1: what the text holds already gets less likely.")
    stop: OneOrMore | None = Field(None, description="Strings that end a reply as well; its text ends before them.")
    model: OneOrMore | None = Field(
        None, description="Another model that writes the train prompts' candidates, in this process: a teacher."
    )
    generators: list[PlugIn] | None = Field(
        None,
        min_length=1,
        description="Who writes them, in turn: policy, and engines with their options, e.g. {type: openai, url: ..., "
        "model: ..., share: 3}; a share is how many of them each writes a round. The policy alone by default.",
    )

    @model_validator(mode="after")
    def _one_word_on_who_writes(self) -> SamplingSection:
        if self.model is not None and self.generators is not None:
            raise ValueError("model and generators both say who writes; put {type: local, model: ...} among generators")
        return self

    @model_validator(mode="after")
    def _greedy_draws_once(self) -> SamplingSection:
        if self.temperature == 0 and self.candidates > 1:
            raise ValueError(f"temperature 0 gives {self.candidates} equal candidates; use a temperature above 0")
        return self

    def law(self, temperature: float | None = None) -> SamplingParams:
        """The sampling law, at the recipe's temperature or another."""
        own = USUAL_TEMPERATURE if self.temperature == "tune" else self.temperature
        return SamplingParams(
            own if temperature is None else temperature,
            self.top_p,
            self.top_k,
            self.max_tokens,
            self.min_p,
            self.repetition_penalty,
            tuple(self.stop or ()),
        )


def _as_budget(value: Any) -> Any:
    """`fixed` stands for the same number of candidates for every prompt, whatever becomes of them."""
    if value == "fixed":
        return {"stop_at_accepted": None}
    return value


class SpeculativeSection(Section):
    """Ending candidates whose beginnings score low, though they might have become good."""

    by: str = Field(
        description="The scorer whose word on a beginning counts. It is asked between the engine's steps: a quick one."
    )
    checkpoints: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, max_length=4, description="Numbers of tokens after which beginnings are scored; 4 at most."
    )
    drop: float = Field(0.5, gt=0, lt=1, description="The share that is ended at each checkpoint.")
    min_correlation: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Spearman's correlation between scores of beginnings and of whole replies must be this much, for "
        "certain (95%), in the iteration before; else nothing is ended.",
    )


class BudgetSection(Section):
    """How many of the candidates that `sampling.candidates` allows for each prompt are drawn, and of which prompts.

    `budget: fixed` draws all of them, whatever becomes of them.
    """

    allocate: Literal["worth", "even", "uniform", "harder", "variance"] = Field(
        "even",
        description="even: the same for every prompt; worth: where accepted replies cost least, solving as many "
        "prompts as an even number would, with fewer accepted in all; by estimated acceptance rate: uniform (as many "
        "accepted of each prompt), harder (more of harder prompts), variance (the least variance of the gradient).",
    )
    stop_at_accepted: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        "auto", description="A prompt ends at so many accepted replies. auto: as many as the selection's cap."
    )
    coverage: float = Field(
        1.005,
        gt=0,
        description="worth: solve so many times as many prompts as an even number of candidates would. Expectations "
        "are a little too hopeful: 1.005 comes to about as many.",
    )
    defer_after: int | None = Field(
        None, ge=1, description="even: a prompt makes way for others after so many rejections in a row."
    )
    most: int | None = Field(
        None,
        ge=1,
        description="Most candidates of one prompt; sampling.candidates (even), twice that (worth), 4 times (others).",
    )
    max_candidates: int | None = Field(None, ge=1, description="Most candidates of an iteration.")
    max_tokens: int | None = Field(None, ge=1, description="Most sampled tokens of an iteration.")
    carry_over: bool = Field(
        False,
        description="Judge prompts by earlier iterations too; those that were always solved sit every second one out.",
    )
    early_rejection: bool = Field(
        True, description="End a candidate at the token after which no rule could accept it. What is accepted stays."
    )
    speculative: SpeculativeSection | None = Field(
        None, description="End candidates whose beginnings score low. Loses some good ones: the run says how many."
    )

    @model_validator(mode="after")
    def _deferral_is_of_even_budgets(self) -> BudgetSection:
        if self.defer_after is not None and self.allocate != "even":
            raise ValueError(f"defer_after goes with allocate: even; '{self.allocate}' decides itself who makes way")
        return self


Budget = Annotated[BudgetSection, BeforeValidator(_as_budget)]


class ScoringSection(Section):
    """What scorers may get wrong."""

    max_failed: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of whole replies, of the last 10,000, on which a scorer may fail before the run stops.",
    )
    max_seconds: float = Field(
        1800, gt=0, description="How long a scorer may take over a batch of replies: after that, it failed on them."
    )


class AnchorSection(Section):
    """Other conversations with good replies, learnt beside what was accepted, against forgetting."""

    rows: OneOrMore = Field(
        description="Files or a datasets name, as prompts.train, without the recipe's template and columns; each row "
        "with a last turn of the assistant's, or a `reference`: that is what is learnt."
    )
    share: float = Field(0.1, gt=0, lt=1, description="The share of the training's rows that are such ones.")
    limit: int | None = Field(None, ge=1, description="Take only this many rows.")


class TrainingSection(Section):
    """How a policy is trained on accepted replies. Keys beyond these are the trainer's own."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    type: str = Field("sft", description="The trainer.")
    start_from: Literal["base", "policy"] = Field(
        "base",
        description="base: begin again from the base model; policy: go on from the last policy.",
    )
    learn_from: Literal["auto", "all", "iteration"] = Field(
        "auto",
        description="What all iterations accepted so far, or this one; auto: all from base, this one from policy.",
    )
    anchor: AnchorSection | None = Field(
        None, description="Other conversations with good replies, learnt beside what was accepted, against forgetting."
    )

    @property
    def accumulates(self) -> bool:
        """Whether what all iterations accepted is learnt from."""
        return self.start_from == "base" if self.learn_from == "auto" else self.learn_from == "all"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class EvaluationSection(Section):
    """How a policy is measured on held-out prompts: greedily, and by samples."""

    samples: int = Field(8, ge=0, description="Sampled replies for each held-out prompt; 0 for greedy only.")
    sampled_prompts: int | None = Field(
        None, ge=1, description="Draw samples for only the first so many held-out prompts; greedy covers all."
    )
    temperature: float | None = Field(
        None, gt=0, description="Of the samples, in all iterations; sampling.temperature (tune: 0.7) by default."
    )
    scorers: dict[str, PlugIn] = Field(
        {},
        description="Held-out scorers: they score greedy replies to held-out prompts, and no selection ever sees them. "
        "One of another kind than those that select shows whether the policy got better or only learnt to please.",
    )
    best_by: str = Field(
        "auto",
        description="What the best iteration is chosen by: acceptance, or the name of a held-out scorer. auto: the "
        "first held-out scorer, acceptance without one.",
    )

    @model_validator(mode="after")
    def _best_by_is_there(self) -> EvaluationSection:
        if self.best_by not in ("auto", "acceptance", *self.scorers):
            known = ", ".join(("acceptance", *self.scorers))
            raise ValueError(f"best_by is '{self.best_by}', and there is {known}")
        return self

    @property
    def best_is_by(self) -> str:
        """`acceptance`, or a held-out scorer's name."""
        return next(iter(self.scorers), "acceptance") if self.best_by == "auto" else self.best_by


def _as_controls(value: Any) -> Any:
    if value == "none":
        return []
    return as_list(value)


class LoopSection(Section):
    """How often, and beside what controls."""

    iterations: int = Field(3, ge=1, description="How often is sampled, scored, selected, trained and evaluated.")
    control: Annotated[list[Literal["random", "unfiltered"]], BeforeValidator(_as_controls)] = Field(
        ["random"],
        description="random: the same run once more, trained on as many randomly chosen candidates; unfiltered: "
        "trained on all of as many candidates as were drawn; none.",
    )
    improve: list[str | dict[str, Any]] = Field(
        [],
        description="Further rounds of training on an iteration's candidates, each from the round before on what one "
        "more rule leaves (ReST): rising quantiles, say.",
    )
    schedule: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        {},
        description="Keys of sampling, budget, selection or training with a value for each iteration; the last one "
        "holds on. E.g. sampling.temperature: [0.7, 0.9], or selection: [[a >= 0.3], [a >= 0.5]].",
    )

    @property
    def arms(self) -> list[str]:
        """The controls by the names of their arms."""
        return ["control" if control == "random" else control for control in self.control]

    @model_validator(mode="after")
    def _schedules_what_it_may(self) -> LoopSection:
        for key in self.schedule:
            if key in ("sampling.model", "sampling.generators"):
                raise ValueError(f"schedule speaks of '{key}': who writes is the same in all iterations")
            if key != "selection" and key.partition(".")[0] not in ("sampling", "budget", "training"):
                raise ValueError(f"schedule speaks of '{key}': it may of selection, sampling.*, budget.*, training.*")
        return self


class Recipe(Section):
    """A run, described."""

    run: str = Field(description="The run folder; runs/NAME of the recipe by default.")
    model: OneOrMore = Field(description="Hub name, folder, or package:NAME. Of several, the first that is there.")
    prompts: PromptsSection
    engine: PlugIn = Field(
        "local",
        description="What samples: local, vllm, openai, scripted, or your own (path/to/file.py:Name); with options, a "
        "mapping with its type.",
    )
    sampling: SamplingSection = SamplingSection()
    budget: Budget = BudgetSection()
    scorers: dict[str, PlugIn] = Field(
        min_length=1,
        description="What scores each reply, by names of your choice: a scorer's name, or a mapping with its type and "
        "options.",
    )
    scoring: ScoringSection = ScoringSection()
    baselines: list[Literal["greedy", "reference"]] = Field(
        [],
        description="Replies scored beside each train prompt's candidates: the policy's greedy one, and the row's "
        "`reference`. They are compared with, and never candidates.",
    )
    selection: list[str | dict[str, Any]] = Field(
        min_length=1,
        description="Rules in order, each on what those before it left: a comparison (facts >= 1), a rule's name, or a "
        "mapping of its name to its options.",
    )
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    guards: GuardsSection = GuardsSection()
    loop: LoopSection = LoopSection()
    store: StoreSection = StoreSection()
    tracking: Tracking = Field(
        TrackingSection(),
        description="Trackers that are told the run's numbers: tensorboard, wandb, mlflow, trackio; a list of names, "
        "or a mapping with options.",
    )
    cluster: ClusterSection | None = Field(
        None, description="Many machines: sample and score on a Ray cluster (auto, HOST:PORT, or a mapping)."
    )
    seed: int = Field(0, ge=0, description="Of all that is drawn at random, in sampling, selecting and training.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 where the machine is quick at it."
    )
    trust_remote_code: bool = Field(False, description="Let a model bring code of its own.")
