"""The RayCluster and the RayJobs: retries, autoscaling, shared memory, volumes, commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from kustomized import FOLDERS, ROOT, build, one, pods
from multibodies import cli

CLUSTERS = ("overlays/local", "overlays/gpu")
SWEEPS = ("sweeps/local", "sweeps/gpu")
SIZES = {"Mi": 1 << 20, "Gi": 1 << 30}


def _specs(folder: str) -> list[dict[str, Any]]:
    """The specs of clusters, of a RayCluster or in RayJobs."""
    found = [m["spec"] for m in build(folder) if m["kind"] in ("RayCluster", "RayJob")]
    return [spec.get("rayClusterSpec", spec) for spec in found]


def _jobs(folder: str) -> list[dict[str, Any]]:
    return [m["spec"] for m in build(folder) if m["kind"] == "RayJob"]


def _bytes(text: str) -> int:
    return int(text[:-2]) * SIZES[text[-2:]]


@pytest.mark.parametrize("folder", SWEEPS)
def test_a_job_gets_the_cluster_of_its_overlay_and_no_other_is_made(folder: str) -> None:
    expected = one(folder.replace("sweeps", "overlays"), "RayCluster")["spec"]
    assert [job["rayClusterSpec"] for job in _jobs(folder)] == [expected] * len(_jobs(folder))
    assert not [m for m in build(folder) if m["kind"] == "RayCluster"]


@pytest.mark.parametrize("folder", SWEEPS)
def test_jobs_are_tried_again_and_end(folder: str) -> None:
    for job in _jobs(folder):
        assert job["backoffLimit"] > 0
        assert job["activeDeadlineSeconds"] > 0
        assert job["shutdownAfterJobFinishes"]


@pytest.mark.parametrize("folder", SWEEPS)
def test_a_refused_sweep_is_not_tried_again(folder: str) -> None:
    """By the variable that jobs/sweep.py looks at; what it does is tested against a head."""
    for job in _jobs(folder):
        variables = yaml.safe_load(job["runtimeEnvYAML"])["env_vars"]
        assert variables == {"MULTIBODIES_REFUSED": "stop"}
    assert 'os.environ.get("MULTIBODIES_REFUSED") == "stop"' in (ROOT / "jobs/sweep.py").read_text()


@pytest.mark.parametrize("folder", SWEEPS)
def test_entry_points_are_commands_that_this_version_takes(folder: str) -> None:
    """Also: each try writes to one folder of the shared volume, no two sweeps to the same."""
    outs = []
    for job in _jobs(folder):
        python, script, *words = shlex.split(job["entrypoint"])
        assert (python, script) == ("python", "/app/jobs/sweep.py")
        args = cli.build_parser().parse_args(["sweep", *words])
        assert (ROOT / args.file.relative_to("/app")).is_file()
        assert args.tracking_uri == "http://mlflow:5000"
        assert args.out.parent == Path("/runs")
        assert args.gpu == (folder == "sweeps/gpu")
        outs.append(args.out)
    assert len(outs) == len(set(outs)) > 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_clusters_want_a_token_and_scale_from_zero(folder: str) -> None:
    for spec in _specs(folder):
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["enableInTreeAutoscaling"]
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] == 0 < group["maxReplicas"]


def test_the_version_of_ray_is_the_locked_one() -> None:
    locked = re.search(r"^ray==(.*)$", (ROOT / "requirements.lock").read_text(), re.M)
    assert locked is not None
    assert {spec["rayVersion"] for f in FOLDERS for spec in _specs(f)} == {locked[1]}


@pytest.mark.parametrize("folder", CLUSTERS)
def test_shared_memory_holds_the_object_store_and_fits_into_the_limit(folder: str) -> None:
    (spec,) = _specs(folder)
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == "/dev/shm")
        (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
        assert volume["emptyDir"]["medium"] == "Memory"
        size = _bytes(volume["emptyDir"]["sizeLimit"])
        assert int(group["rayStartParams"]["object-store-memory"]) < size
        assert size < _bytes(pod["containers"][0]["resources"]["limits"]["memory"]) / 2


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_ray_pod_has_the_runs_and_is_scraped(folder: str) -> None:
    for spec in _specs(folder):
        for _, pod in pods(spec):
            (runs,) = (v for v in pod["spec"]["volumes"] if v["name"] == "runs")
            assert runs["persistentVolumeClaim"] == {"claimName": "runs"}
            notes = pod["metadata"]["annotations"]
            assert notes["prometheus.io/scrape"] == "true"
            ports = {p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
            assert int(notes["prometheus.io/port"]) in ports


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_ray_container_knows_where_runs_and_mlflow_are(folder: str) -> None:
    """So that a job that names neither --out nor --tracking-uri writes where its pods share."""
    (port,) = one(folder, "Service", "mlflow")["spec"]["ports"]
    for spec in _specs(folder):
        for _, pod in pods(spec):
            (container,) = pod["spec"]["containers"]
            told = {entry["name"]: entry["value"] for entry in container["env"]}
            assert told["MLFLOW_TRACKING_URI"] == f"http://mlflow:{port['port']}"
            mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
            assert mounts[told["MULTIBODIES_RUNS"]] == "runs"


def test_gpu_workers_ask_for_one_gpu_and_go_where_gpus_are() -> None:
    (spec,) = _specs("overlays/gpu")
    (group,) = (g for g in spec["workerGroupSpecs"] if g["groupName"] == "gpu")
    pod = group["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"]
    assert [t["key"] for t in pod["tolerations"]] == ["nvidia.com/gpu"]


def test_licensed_volumes_are_only_read() -> None:
    (spec,) = _specs("overlays/gpu")
    found = list(pods(spec))
    assert len(found) == 3
    for _, pod in found:
        (container,) = pod["spec"]["containers"]
        assert {"name": "MULTIBODIES_BODIES", "value": "/bodies"} in container["env"]
        mounts = {m["mountPath"]: m.get("readOnly") for m in container["volumeMounts"]}
        assert mounts["/sets"] is mounts["/bodies"] is True
        claims = [v.get("persistentVolumeClaim", {}) for v in pod["spec"]["volumes"]]
        read_only = {c["claimName"] for c in claims if c.get("readOnly")}
        assert read_only == {"sets", "bodies"}


def test_the_local_overlay_has_nothing_licensed() -> None:
    claims = {m["metadata"]["name"] for m in build("overlays/local") if "Claim" in m["kind"]}
    assert claims == {"runs"}
