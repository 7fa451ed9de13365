"""Manifests as `kubectl kustomize` builds them, and the schemas they must fit. Needs no cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
# KubeRay's CRDs of v1.7.0, as its Helm chart holds them in crds/; not part of this repository.
CRDS = Path(os.environ.get("KUBERAY_CRDS", ROOT / "../shared/k8s-crds"))
FOLDERS = ("overlays/local", "overlays/gpu", "sweeps/local", "sweeps/gpu")
RAY = "ray.io/v1"

Manifest = dict[str, Any]


@cache
def _built(folder: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, so no kustomization can be built")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: str) -> list[Manifest]:
    """Return the manifests of a folder of k8s/, fresh copies. Skips the test without kubectl."""
    return list(yaml.load_all(_built(folder), yaml.CSafeLoader))


def one(folder: str, kind: str, name: str | None = None) -> Manifest:
    """Return the one manifest of a kind (and a name)."""
    found = [
        m for m in build(folder) if m["kind"] == kind and name in (None, m["metadata"]["name"])
    ]
    assert len(found) == 1
    return found[0]


def faults(manifest: Manifest) -> list[str]:
    """Return where a manifest does not fit its kind's schema; properties it does not name count.

    Skips the test where KubeRay's CRDs are absent.
    """
    if manifest["apiVersion"] == RAY:
        validator = _ray_validator(manifest["kind"])
        return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(manifest)]
    version = kubernetes_validate.latest_version()
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error.message)]
    return []


@cache
def _ray_validator(kind: str) -> jsonschema.Draft202012Validator:
    path = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not path.exists():
        pytest.skip(f"{path} is absent: set KUBERAY_CRDS to a folder of KubeRay 1.7.0's CRDs")
    crd = yaml.load(path.read_text(), yaml.CSafeLoader)
    versions = {version["name"]: version for version in crd["spec"]["versions"]}
    schema = versions["v1"]["schema"]["openAPIV3Schema"]
    spec_only = {**schema, "properties": {**schema["properties"], "metadata": METADATA}}
    return jsonschema.Draft202012Validator(closed(spec_only))


METADATA = {  # a CRD leaves its own metadata to the API server
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("name", "namespace")}
    | {
        name: {"type": "object", "additionalProperties": {"type": "string"}}
        for name in ("labels", "annotations")
    },
}


def closed(schema: Any) -> Any:
    """Return a schema of which every object with named properties refuses all others."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {
        key: {name: closed(sub) for name, sub in value.items()}
        if key == "properties"
        else closed(value)
        for key, value in schema.items()
    }
    free = "additionalProperties" in out or out.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in out and not free:
        out["additionalProperties"] = False
    return out


def pods(manifest: Manifest, path: str = "") -> Iterator[tuple[str, Manifest]]:
    """Give every pod template of a manifest, of whatever kind, with its path."""
    for key, value in manifest.items():
        here = f"{path}.{key}"
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}):
                yield here, value
            else:
                yield from pods(value, here)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from pods(item, f"{here}[{index}]")


def all_pods(folder: str) -> list[tuple[str, Manifest]]:
    """Return every pod template of a folder, named by kind, name and path."""
    return [
        (f"{m['kind']}/{m['metadata']['name']}{path}", pod)
        for m in build(folder)
        for path, pod in pods(m)
    ]


def containers(pod: Manifest) -> list[Manifest]:
    """Return the containers and init containers of a pod template."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
