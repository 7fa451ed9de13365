"""From an empty cluster to Table 2: the Secrets' script, the database's migration, the README."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from kustomized import FOLDERS, ROOT, all_pods, containers, one

README = (ROOT / "k8s/README.md").read_text()
# Keeps each Secret as a file in $STORE, in place of an API server.
KUBECTL = """#!/bin/sh
case "$*" in
  *"get secret"*) test -e "$STORE/$5" ;;
  *"create secret generic"*) cat > "$STORE/$6" ;;
  "apply -f "*) test -e "$3" ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(stat.S_IRWXU)
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def _run(store: Path, **settings: str) -> dict[str, dict[str, str]]:
    """Run secrets.sh against the stand-in; return the Secrets there are then."""
    path = f"{store.parent / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "STORE": str(store), **settings}
    script = ["sh", str(ROOT / "k8s/secrets.sh")]
    subprocess.run(script, env=environment, check=True, capture_output=True)
    lines = {file.name: file.read_text().splitlines() for file in store.iterdir()}
    return {
        name: dict(re.findall(r"^([^=]+)=(.+)$", "\n".join(v), re.M)) for name, v in lines.items()
    }


def test_secrets_are_random_and_agree(store: Path) -> None:
    secrets = _run(store)
    password = secrets["postgres"]["password"]
    assert re.fullmatch("[0-9a-f]{48}", password)
    uri = f"postgresql+psycopg://mlflow:{password}@postgres:5432/mlflow"
    assert secrets["mlflow"]["backend-store-uri"] == uri
    values = [value for secret in secrets.values() for value in secret.values()]
    assert len(values) == len(set(values)) == 4


def test_secrets_that_exist_are_kept(store: Path) -> None:
    assert _run(store) == _run(store)


def test_addresses_of_ones_own_are_taken(store: Path) -> None:
    own = {"BACKEND_STORE_URI": "postgresql+psycopg://u:p@db/m", "AWS_ACCESS_KEY_ID": "key"}
    secret = _run(store, **own, AWS_SECRET_ACCESS_KEY="hidden")["mlflow"]
    assert secret == {
        "backend-store-uri": own["BACKEND_STORE_URI"],
        "aws-access-key-id": "key",
        "aws-secret-access-key": "hidden",
    }


@pytest.mark.parametrize("folder", ("overlays/local", "overlays/gpu"))
def test_every_secret_that_a_pod_names_is_made(folder: str, store: Path) -> None:
    made = _run(store)
    for name, pod in all_pods(folder):
        for container in containers(pod):
            for entry in container.get("env", []):
                if "valueFrom" in entry:
                    wanted = entry["valueFrom"]["secretKeyRef"]
                    assert wanted["key"] in made[wanted["name"]], name


@pytest.mark.parametrize("folder", FOLDERS)
def test_one_pod_migrates_before_the_server_starts(folder: str) -> None:
    deployment = one(folder, "Deployment", "mlflow")["spec"]
    (migrate,) = deployment["template"]["spec"]["initContainers"]
    (server,) = deployment["template"]["spec"]["containers"]
    assert "mlflow db upgrade" in migrate["command"][-1]
    assert migrate["image"] == server["image"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    uris = [c["env"][0]["valueFrom"] for c in (migrate, server)]
    assert uris[0] == uris[1]


def test_six_commands_lead_to_table_2() -> None:
    block = re.search(r"```sh\n(.*?)```", README, re.S)
    assert block is not None
    commands = re.sub(r"\\\n\s*", " ", block[1]).splitlines()
    assert len(commands) == 6
    assert not [c for c in commands if re.search(r"&&|;|\|\|", c)]


def test_files_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"k8s/[\w./-]+|(?<=\()\w[\w.-]*\.md", README))
    assert "k8s/sweeps/local" in named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "k8s" / name).exists(), name
