"""Restricted pods, limits, tokens, Secrets and networks of every kustomization."""

from __future__ import annotations

from typing import Any

import pytest

from kustomized import FOLDERS, all_pods, build, containers, one

PART = "app.kubernetes.io/component"


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_namespace_enforces_the_restricted_standard(folder: str) -> None:
    labels = one(folder, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_are_restricted(folder: str) -> None:
    """The fields of the restricted Pod Security Standard, and a read-only root besides."""
    for name, pod in all_pods(folder):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"]), name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_only_claims_and_bounded_empty_folders_are_mounted(folder: str) -> None:
    for name, pod in all_pods(folder):
        for volume in pod["spec"].get("volumes", []):
            source = volume.get("emptyDir", volume.get("persistentVolumeClaim"))
            assert source is not None, name
            assert "sizeLimit" in source or "claimName" in source, name


def test_containers_have_requests_and_limits(folder: str) -> None:
    for name, pod in all_pods(folder):
        for container in containers(pod):
            for side in ("requests", "limits"):
                amounts = set(container["resources"][side])
                assert amounts >= {"cpu", "memory", "ephemeral-storage"}, (name, side)


def test_only_the_head_has_a_token_of_the_api_server(folder: str) -> None:
    holders = [n for n, pod in all_pods(folder) if pod["spec"]["automountServiceAccountToken"]]
    heads = [n for n, _ in all_pods(folder) if n.endswith(".headGroupSpec.template")]
    assert holders == heads


def test_long_running_containers_have_probes(folder: str) -> None:
    served = [p for n, p in all_pods(folder) if not n.endswith("submitterPodTemplate")]
    assert served
    for pod in served:
        for container in pod["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


def test_images_have_a_version(folder: str) -> None:
    for name, pod in all_pods(folder):
        for container in containers(pod):
            tag = container["image"].rpartition(":")[2]
            assert tag[:1].isdigit() or tag.startswith("v"), (name, container["image"])


def test_secrets_come_by_reference_only(folder: str) -> None:
    assert not [m for m in build(folder) if m["kind"] == "Secret"]
    for name, pod in all_pods(folder):
        for container in containers(pod):
            for entry in container.get("env", []):
                hidden = any(w in entry["name"] for w in ("PASSWORD", "KEY", "STORE_URI", "TOKEN"))
                assert ("valueFrom" in entry) == hidden, (name, entry["name"])


def test_nothing_is_served_outside_the_cluster(folder: str) -> None:
    manifests = build(folder)
    assert not {m["kind"] for m in manifests} & {"Ingress", "HTTPRoute", "Gateway"}
    types = {m["spec"].get("type") for m in manifests if m["kind"] == "Service"}
    assert types == {"ClusterIP"}


def _policies(folder: str) -> dict[str, dict[str, Any]]:
    return {m["metadata"]["name"]: m["spec"] for m in build(folder) if m["kind"] == "NetworkPolicy"}


def test_everything_is_denied_that_no_policy_allows(folder: str) -> None:
    deny = _policies(folder)["deny-all"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_policies_name_parts_that_exist(folder: str) -> None:
    """A misspelt label would silently allow nothing, or the wrong pods."""
    parts = {pod["metadata"]["labels"][PART] for _, pod in all_pods(folder)} | {"submitter"}
    named = {
        peer["podSelector"]["matchLabels"][PART]
        for spec in _policies(folder).values()
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]
        for peer in [*rule.get("from", []), *rule.get("to", [])]
        if "podSelector" in peer
    }
    assert named <= parts
    assert {"ray", "mlflow"} <= named


def test_mlflow_answers_ray_alone_under_its_own_names(folder: str) -> None:
    (rule,) = _policies(folder)["mlflow"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {PART: "ray"}}}]
    (server,) = one(folder, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    options = dict(arg.removeprefix("--").partition("=")[::2] for arg in server["args"])
    hosts = options["allowed-hosts"].split(",")
    assert hosts == ["mlflow:5000", "localhost:5000", "127.0.0.1:5000"]
    assert options["cors-allowed-origins"].split(",") == [f"http://{host}" for host in hosts]
    settings = one(folder, "ConfigMap", "mlflow")["data"]
    assert settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert settings["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
