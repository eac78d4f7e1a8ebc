"""One of the processes that train together: `accelerate launch ... -m rsft.training.process FOLDER [MODEL [START]]`.

MODEL and START are the folders of the base model and of the policy to start from, where they are others on this machine
than on the one that wrote the job."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path

import psutil
import torch
from accelerate import PartialState

from rsft.errors import ModelError
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training.fitting import fit
from rsft.training.job import Job
from rsft.training.launch import FAILED, STARTER, STEP, WARNING, Model, read_job
from rsft.training.trainer import is_sharded


def main() -> None:
    if STARTER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[STARTER]),), daemon=True).start()
    logging.getLogger("rsft").addHandler(_Teller())
    try:
        _train(*read_job(Path(sys.argv[1]), *sys.argv[2:]))
    except Exception as error:
        print(f"{FAILED}{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        raise
    PartialState().destroy_process_group()


class _Teller(logging.Handler):
    """Has the starter say what the first process warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            print(f"{WARNING}{' '.join(record.getMessage().split())}", flush=True)


def _train(model: Model, job: Job) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # A model that will be in parts, or of which an fp32 copy is trained, need not be on the device itself.
    device = "cpu" if is_sharded() or job.settings.lora is None else None
    network = Network.load(
        ModelFolder(model.reference, Path(model.folder)),
        dtype=model.dtype,
        device=device,
        trust_remote_code=model.trust_remote_code,
    )
    if network.base.hash != model.hash:
        raise ModelError(
            f"The model '{model.reference}' in {model.folder} on {socket.gethostname()} is another one than the run's:"
            f" its hash is {network.base.hash}, and that of the run's is {model.hash}. Put the same one there."
        )
    fit(network, job, _report)


def _report(step: int, of: int) -> None:
    if PartialState().is_main_process:
        print(f"{STEP}{step} {of}", flush=True)


def _end_with(starter: int) -> None:
    """End this process as soon as another one has: a second training in the same folder may begin then."""
    try:
        process = psutil.Process(starter)
        # Who was killed and has no parent that asks how it ended stays in the list.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    except psutil.NoSuchProcess:
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
