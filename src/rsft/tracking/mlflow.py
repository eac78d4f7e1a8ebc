"""Tells a run to MLflow, by its own client."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from rsft.config.load import flat
from rsft.config.tracking import MlFlow
from rsft.tracking.base import About, Row

_TAG = "rsft_run"
# MLflow's own limits.
_METRICS_AT_ONCE, _PARAMS_AT_ONCE, _LONGEST_KEY, _LONGEST_VALUE = 1000, 100, 250, 6000


class MlFlowTracker:
    """The run there is found by a tag that holds our id; each number is a metric, with its axis's place as the step."""

    begins_anew: ClassVar[bool] = False

    def __init__(self, client: Any, run_id: str, may_be_there: bool) -> None:
        self._client, self._run_id = client, run_id
        self._may_be_there = may_be_there

    @classmethod
    def problem(cls) -> str | None:
        if os.environ.get("MLFLOW_TRACKING_URI") or importlib.util.find_spec("sqlalchemy"):
            return None
        return (
            "mlflow is not told of a server: set MLFLOW_TRACKING_URI (http://127.0.0.1:5000, say), or install all of "
            "MLflow (pip install mlflow), which keeps a database of its own"
        )

    @classmethod
    def open(cls, options: MlFlow, about: About) -> Self:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        client = MlflowClient()
        named = options.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "rsft"
        experiment = client.get_experiment_by_name(named)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(named)
        found = client.search_runs([experiment_id], f"tags.{_TAG} = '{about.id}'", max_results=1)
        if found:
            run = found[0]
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = client.create_run(experiment_id, tags={_TAG: about.id}, run_name=about.name)
        params = [Param(_key(key), str(said)[:_LONGEST_VALUE]) for key, said in flat(about.config)]
        owed = [param for param in params if param.key not in run.data.params]  # they can't be changed later
        for start in range(0, len(owed), _PARAMS_AT_ONCE):
            client.log_batch(run.info.run_id, params=owed[start : start + _PARAMS_AT_ONCE])
        return cls(client, run.info.run_id, may_be_there=bool(found))

    def tell(self, rows: Sequence[Row]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(_key(name), value, int(row.when.timestamp() * 1000), row.at)
            for row in rows
            for name, value in row.values.items()
        ]
        if self._may_be_there:  # a crash may have come between telling and remembering
            there = {key: self._steps_of(key) for key in {metric.key for metric in metrics}}
            metrics = [metric for metric in metrics if metric.step not in there[metric.key]]
        self._may_be_there = True  # should it break off in the middle
        for start in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])
        self._may_be_there = False

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    def _steps_of(self, key: str) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(self._run_id, key)}


def _key(name: str) -> str:
    """The name in the letters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:_LONGEST_KEY]
