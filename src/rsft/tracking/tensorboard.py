"""Tells a run to TensorBoard: event files, by TensorBoard's own writer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from rsft.config.load import flat
from rsft.config.tracking import TensorBoard
from rsft.tracking.base import About, Row
from rsft.tracking.memory import FOLDER


class TensorBoardTracker:
    """Writes one event file of the whole run in each sitting, and then takes away the one of the sitting before."""

    begins_anew: ClassVar[bool] = True

    def __init__(self, folder: Path, about: About) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        suffix = f".{about.id}"
        earlier = list(folder.glob(f"events.out.tfevents.*{suffix}"))
        self._writer = EventFileWriter(str(folder), filename_suffix=suffix)
        # A TensorBoard that has read the earlier file already lets go of what it read there.
        self._add(Event(session_log=SessionLog(status=SessionLog.START), step=0))
        self._add_config(about)
        self._writer.flush()
        for file in earlier:
            file.unlink(missing_ok=True)

    @classmethod
    def problem(cls) -> str | None:
        return None

    @classmethod
    def open(cls, options: TensorBoard, about: About) -> Self:
        folder = Path(options.folder) / about.name if options.folder else about.run / FOLDER / "tensorboard"
        return cls(folder, about)

    def tell(self, rows: Sequence[Row]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for row in rows:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in row.values.items()]
            self._add(Event(step=row.at, summary=Summary(value=values)), row.when.timestamp())
        self._writer.flush()

    def close(self, finished: bool) -> None:
        self._writer.close()

    def _add(self, event: Any, at: float | None = None) -> None:
        event.wall_time = time.time() if at is None else at
        self._writer.add_event(event)

    def _add_config(self, about: About) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo
        from tensorboard.plugins.text.summary_v2 import text_pb

        text = yaml.safe_dump(dict(about.config), sort_keys=False, allow_unicode=True, width=100)
        block = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown's for what is shown as it is
        self._add(Event(step=0, summary=text_pb("recipe", block)))
        # Its own function for this wants TensorFlow.
        start = SessionStartInfo(start_time_secs=time.time())
        for key, said in flat(about.config):
            if isinstance(said, bool):
                start.hparams[key].bool_value = said
            elif isinstance(said, int | float):
                start.hparams[key].number_value = said
            elif isinstance(said, str):
                start.hparams[key].string_value = said
        value = Summary.Value(
            tag=metadata.SESSION_START_INFO_TAG,
            metadata=metadata.create_summary_metadata(HParamsPluginData(session_start_info=start)),
            tensor=metadata.NULL_TENSOR,
        )
        self._add(Event(step=0, summary=Summary(value=[value])))
