"""What a recipe may say of the trackers that are told of a run. Keys and passwords are none of it: the trackers' own
libraries find these in their environment variables."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from rsft.config.section import Section

_NAME = "What the run is called there; the run folder's name by default."


class TensorBoard(Section):
    """Event files for TensorBoard."""

    folder: str | None = Field(
        None, description="Where event files go, into a folder of the run's name; RUN/tracking/tensorboard by default."
    )
    name: str | None = Field(None, description=_NAME)


class Wandb(Section):
    """Weights & Biases."""

    project: str | None = Field(None, description="The project; WANDB_PROJECT or rsft by default.")
    name: str | None = Field(None, description=_NAME)


class MlFlow(Section):
    """MLflow, at MLFLOW_TRACKING_URI."""

    experiment: str | None = Field(None, description="The experiment; MLFLOW_EXPERIMENT_NAME or rsft by default.")
    name: str | None = Field(None, description=_NAME)


class Trackio(Section):
    """Trackio, on this machine or where its own variables lead."""

    project: str | None = Field(None, description="The project; rsft by default.")
    name: str | None = Field(None, description=_NAME)


class TrackingSection(Section):
    """Which trackers are told of the run, and what it is called there."""

    tensorboard: TensorBoard | None = Field(None, description="Event files for TensorBoard.")
    wandb: Wandb | None = Field(None, description="Weights & Biases.")
    mlflow: MlFlow | None = Field(None, description="MLflow, at MLFLOW_TRACKING_URI.")
    trackio: Trackio | None = Field(None, description="Trackio, on this machine or where its own variables lead.")

    @model_serializer(mode="wrap")
    def _only_wanted(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: options for name, options in rest(self).items() if options is not None}

    @property
    def wanted(self) -> dict[str, Section]:
        """The options of each tracker that is to be told, by its name."""
        said: dict[str, Section | None] = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: options for name, options in said.items() if options is not None}


def _as_tracking(value: Any) -> Any:
    """A name, a list of names, or names with nothing behind them stand for trackers without options."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if options is None else options for name, options in value.items()}
    return value


Tracking = Annotated[TrackingSection, BeforeValidator(_as_tracking)]
