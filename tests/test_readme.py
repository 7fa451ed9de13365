"""README stays true: its table, its settings, its commands, its make targets, its files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from multibodies import cli
from multibodies.config import load_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def _switches() -> ModuleType:
    spec = importlib.util.spec_from_file_location("switches", ROOT / "docs" / "switches.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SWITCHES = _switches()
AVAILABLE = [s for s in SWITCHES.load() if "key" in s]
COMMANDS = re.findall(r"^\.venv/bin/multibodies (.*?)(?:\s+#.*)?$", README, re.M)


def test_table_is_up_to_date() -> None:
    assert SWITCHES.updated(README) == README, "run `make readme`"


@pytest.mark.parametrize("switch", AVAILABLE, ids=lambda s: str(s["key"]))
def test_switch_exists_and_defaults_to_the_paper(switch: dict[str, Any]) -> None:
    section, leaf = switch["key"].split(".")
    paper, released = switch["values"]
    default = getattr(getattr(load_config("paper"), section), leaf)
    assert default == paper
    overrides = {switch["key"]: released, "evaluation.n": [1, 5]}
    chosen = getattr(getattr(load_config("paper", overrides), section), leaf)
    assert chosen == released


def test_every_subcommand_is_named() -> None:
    missing = [name for name in cli.COMMANDS if f"`{name}`" not in README]
    assert not missing


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    args = cli.build_parser().parse_args(shlex.split(command))
    assert args.command in cli.COMMANDS


def test_commands_were_found() -> None:
    assert len(COMMANDS) == 5


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z0-9-]+)|^make ([a-z0-9-]+)", README, re.M))
    assert {first or second for first, second in named} <= targets


def test_named_files_exist() -> None:
    named = set(re.findall(r"(?:sweeps|jobs)/\w+\.(?:toml|py)", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_sweep_length_is_as_said() -> None:
    said = re.search(r"`sweeps/table2.toml`, (\d+) lines", README)
    assert said is not None
    assert int(said[1]) == len((ROOT / "sweeps" / "table2.toml").read_text().splitlines())


def test_images_exist() -> None:
    images = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    there = [f"docs/images/{path.name}" for path in (ROOT / "docs/images").iterdir()]
    assert sorted(images) == sorted(there)
