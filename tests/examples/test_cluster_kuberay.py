"""The examples for KubeRay: their structure as its API's reference has it; what they say of Ray, rsft and the image.

There is no Kubernetes here. The schema below is written after the reference of ray.io/v1 (KubeRay 1.4), with what the
files use of it; so are the templates of pods, after that of Kubernetes.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml
from two_nodes import FOLDER, ROOT

import rsft
from rsft.cli.app import app

DOCUMENTS = list(yaml.safe_load_all((FOLDER / "kuberay.yaml").read_text(encoding="utf-8")))
CLAIM, JOB = DOCUMENTS
STAYING = yaml.safe_load((FOLDER / "kuberay-cluster.yaml").read_text(encoding="utf-8"))
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
IMAGE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


TEXT, WHOLE = {"type": "string"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|Mi|Gi|Ti)?$"}}
CONTAINER = _object(
    ["name", "image", "resources"],
    name=TEXT,
    image=TEXT,
    env={"type": "array", "items": _object(["name", "value"], name=TEXT, value=TEXT)},
    envFrom={
        "type": "array",
        "items": _object([], secretRef=_object(["name"], name=TEXT, optional={"type": "boolean"})),
    },
    resources=_object(["limits"], requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts={"type": "array", "items": _object(["name", "mountPath"], name=TEXT, mountPath=TEXT)},
)
VOLUME = _object(
    ["name"],
    name=TEXT,
    persistentVolumeClaim=_object(["claimName"], claimName=TEXT),
    configMap=_object(["name"], name=TEXT),
) | {"minProperties": 2, "maxProperties": 2}
TEMPLATE = _object(
    ["spec"],
    spec=_object(
        ["containers"],
        restartPolicy={"const": "Never"},  # the autoscaler's second version asks for it
        securityContext=_object([], fsGroup=WHOLE),
        terminationGracePeriodSeconds=WHOLE,
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array", "items": VOLUME},
    ),
)
CLUSTER_SCHEMA = _object(
    ["headGroupSpec"],
    rayVersion=TEXT,
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_object([], version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=WHOLE),
    headGroupSpec=_object(["template"], rayStartParams=TEXTS, template=TEMPLATE),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            ["groupName", "maxReplicas", "template"],
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        ),
    },
)
JOB_SCHEMA = _object(
    ["entrypoint", "rayClusterSpec"],
    entrypoint=TEXT,
    backoffLimit=WHOLE,
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=WHOLE,
    rayClusterSpec=CLUSTER_SCHEMA,
)


@pytest.mark.parametrize(
    ("document", "kind", "schema"), [(JOB, "RayJob", JOB_SCHEMA), (STAYING, "RayCluster", CLUSTER_SCHEMA)]
)
def test_it_is_of_the_form_that_kuberay_documents(document: Any, kind: str, schema: Any) -> None:
    whole = _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=_object(["name"], name=TEXT),
        spec=schema,
    )
    jsonschema.Draft202012Validator(whole).validate(document)


def test_the_cluster_that_stays_is_that_of_the_job() -> None:
    assert STAYING["spec"] == CLUSTER


def test_pods_mount_what_they_have_and_it_is_the_claims_volume() -> None:
    assert CLAIM["kind"] == "PersistentVolumeClaim"
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"], "head and workers see it at the same time"
    for group in GROUPS:
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
            assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_group_of_workers_can_grow_to_what_the_run_asks_for() -> None:
    said = rsft.load_recipe(str(FOLDER / "cluster.yaml"), *overrides_of(JOB["spec"]["entrypoint"]))
    assert said.cluster is not None
    (group,) = CLUSTER["workerGroupSpecs"]
    assert CLUSTER["enableInTreeAutoscaling"]
    assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]
    wanted, limits = said.cluster.engine, group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (wanted.workers, wanted.gpus) == (4, float(limits["nvidia.com/gpu"]))
    assert wanted.workers <= group["maxReplicas"]
    assert wanted.cpus is not None
    assert wanted.cpus <= float(limits["cpu"])
    mounts = {mount["mountPath"] for mount in GROUPS[0]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert str(Path(said.run).parent) in mounts, "the run folder outlives the pods"


def test_commands_are_those_of_the_real_command_line() -> None:
    comments = re.findall(r" -- (rsft .*)", (FOLDER / "kuberay-cluster.yaml").read_text(encoding="utf-8"))
    assert len(comments) == 2
    for command in (JOB["spec"]["entrypoint"], *comments):
        program, name, *words = shlex.split(command)
        assert program == "rsft"
        typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]


def test_what_ray_is_started_with_are_options_of_this_ray_which_is_that_of_the_image() -> None:
    start = pytest.importorskip("ray.scripts.scripts").start
    options = {option for parameter in start.params for option in parameter.opts}
    for group in GROUPS:
        assert {f"--{name}" for name in group["rayStartParams"]} <= options
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert f"ray=={CLUSTER['rayVersion']}" in constraints


def test_the_image_installs_extras_that_there_are_and_copies_all_that_a_build_wants() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    steps = [shlex.split(line) for line in re.findall(r"^(?:RUN| &&) (pip install .*?)(?: \\)?$", IMAGE, re.M)]
    assert len(steps) == 2
    assert all("constraints.txt" in step for step in steps)
    (extras,) = (re.findall(r"^\.\[(.*)\]$", word)[0] for step in steps for word in step if word.startswith(".["))
    assert extras in project["optional-dependencies"]
    copied = " ".join(re.findall(r"^COPY (.*) \S+$", IMAGE, re.M)).split()
    assert all((ROOT / name).exists() for name in copied)
    assert {"src", "pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]} <= set(copied)
    for group in GROUPS:
        for container in group["template"]["spec"]["containers"]:
            assert container["image"].endswith(f"/rsft:{rsft.__version__}")
            assert container["image"] in IMAGE
            assert group["template"]["spec"]["securityContext"]["fsGroup"] == int(re.findall(r"--uid (\d+)", IMAGE)[0])


def overrides_of(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[place + 1] for place, word in enumerate(words) if word == "--set"]
