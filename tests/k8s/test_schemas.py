"""Every manifest fits its kind's schema, closed; a misspelt property is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kustomized import FOLDERS, RAY, build, closed, faults, one


@pytest.mark.parametrize("folder", FOLDERS)
def test_built_in_kinds_fit(folder: str) -> None:
    manifests = [m for m in build(folder) if m["apiVersion"] != RAY]
    assert len(manifests) >= 10
    assert {m["metadata"]["name"]: faults(m) for m in manifests if faults(m)} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_kuberay_kinds_fit(folder: str) -> None:
    manifests = [m for m in build(folder) if m["apiVersion"] == RAY]
    assert manifests
    assert {m["metadata"]["name"]: faults(m) for m in manifests if faults(m)} == {}


BUILT_IN: dict[str, Callable[[dict[str, Any]], object]] = {
    "readOnlyRootFilesytem": lambda m: m["spec"]["template"]["spec"]["containers"][0][
        "securityContext"
    ].update(readOnlyRootFilesytem=True),
    "replicaCount": lambda m: m["spec"].update(replicaCount=1),
    "type": lambda m: m["spec"].update(replicas="one"),
}
CLUSTER: dict[str, Callable[[dict[str, Any]], object]] = {
    "enableInTreeAutoscalling": lambda s: s.update(enableInTreeAutoscalling=True),
    "maxReplica": lambda s: s["workerGroupSpecs"][0].update(maxReplica=3),
    "readOnlyRootFilesytem": lambda s: s["headGroupSpec"]["template"]["spec"]["containers"][0][
        "securityContext"
    ].update(readOnlyRootFilesytem=True),
    "tokens": lambda s: s["authOptions"].update(mode="tokens"),
    "one": lambda s: s["workerGroupSpecs"][0].update(maxReplicas="one"),
}


@pytest.mark.parametrize("word", BUILT_IN)
def test_a_planted_fault_in_a_built_in_kind_is_caught(word: str) -> None:
    manifest = one("overlays/local", "Deployment")
    assert faults(manifest) == []
    BUILT_IN[word](manifest)
    assert any(word in fault for fault in faults(manifest))


@pytest.mark.parametrize("word", CLUSTER)
def test_a_planted_fault_in_a_ray_cluster_is_caught(word: str) -> None:
    manifest = one("overlays/gpu", "RayCluster")
    assert faults(manifest) == []
    CLUSTER[word](manifest["spec"])
    assert any(word in fault for fault in faults(manifest))


@pytest.mark.parametrize("word", CLUSTER)
def test_a_planted_fault_in_a_ray_jobs_cluster_is_caught(word: str) -> None:
    manifest = one("sweeps/local", "RayJob")
    CLUSTER[word](manifest["spec"]["rayClusterSpec"])
    assert any(word in fault for fault in faults(manifest))


def test_a_misspelt_retry_limit_of_a_ray_job_is_caught() -> None:
    manifest = one("sweeps/local", "RayJob")
    manifest["spec"]["backofLimit"] = manifest["spec"].pop("backoffLimit")
    assert any("backofLimit" in fault for fault in faults(manifest))


def test_closing_leaves_free_maps_open() -> None:
    labels = {"type": "object", "additionalProperties": {"type": "string"}}
    schema = {"type": "object", "properties": {"labels": labels, "properties": {"type": "object"}}}
    assert closed(schema) == {**schema, "additionalProperties": False}
