"""The constraints that an instruction may put on a reply, in the manner of IFEval (Zhou et al., 2311.07911)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from rsft.errors import nearest
from rsft.scorers.json_schema import validator_of
from rsft.scorers.languages import LANGUAGES
from rsft.scorers.length import outside

_Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_MODEL = ConfigDict(frozen=True, extra="forbid")


class Limits(BaseModel):
    """How many: from `least` to `most`, either of which may be left out. A number alone is both."""

    model_config = _MODEL

    least: int | None = Field(None, ge=0)
    most: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _number_is_both(cls, given: Any) -> Any:
        if isinstance(given, bool):
            raise ValueError("needs a number, or {least: ..., most: ...}")  # noqa: TRY004
        return {"least": given, "most": given} if isinstance(given, (int, float)) else given

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Limits:
        if self.least is None and self.most is None:
            raise ValueError("give least, most, or a number")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least ({self.least}) is more than most ({self.most})")
        return self

    def problems(self, count: int, unit: str) -> list[str]:
        return outside(count, self.least, self.most, unit)


class Asked(BaseModel):
    """What is asked of a reply. A constraint that is null, false or empty is not asked for.

    Words are counted as the scorer `length` counts them. Paragraphs are parted by blank lines (or by *** or ---),
    bullets are lines that begin with -, *, + or •, placeholders are `[like this]`, highlights `*like this*`, a title is
    `<<like this>>`. Phrases (`keywords`, `forbidden`, ...) occur as in the scorer `forbidden`; case and width never
    matter to them. `case`: nothing is in the other case, or each word begins with a capital. `quoted`: the whole reply
    is in quotation marks. `valid_json`: the whole reply is JSON, in a fence or not. `json_schema`: the whole reply is
    JSON that the schema allows, and in no fence, as for the scorer of that name. `repeats_prompt`: the reply begins
    with the last message.
    """

    model_config = _MODEL

    words: Limits | None = None
    sentences: Limits | None = None
    paragraphs: Limits | None = None
    bullets: Limits | None = None
    placeholders: Limits | None = None
    highlights: Limits | None = None
    keywords: tuple[_Phrase, ...] | None = None
    keyword_counts: dict[_Phrase, Limits | None] | None = None
    forbidden: tuple[_Phrase, ...] | None = None
    starts_with: _Phrase | None = None
    ends_with: _Phrase | None = None
    case: Literal["upper", "lower", "title"] | None = None
    language: str | None = None
    no_commas: bool | None = None
    quoted: bool | None = None
    title: bool | None = None
    valid_json: bool | None = None
    json_schema: dict[str, Any] | None = None
    repeats_prompt: bool | None = None

    @field_validator("language")
    @classmethod
    def _language_is_known(cls, language: str | None) -> str | None:
        if language is not None and language not in LANGUAGES:
            raise ValueError(f"is no language that can be told.{nearest(language, LANGUAGES)} Use an ISO 639-1 code")
        return language

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema:
            validator_of(schema)
        return schema

    @property
    def names(self) -> list[str]:
        """The constraints that are asked for."""
        return [name for name in type(self).model_fields if getattr(self, name)]
