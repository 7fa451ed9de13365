"""README stays true: its table, its settings, its commands, its make targets, its files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from multibodies import cli
from multibodies.config import load_config
from multibodies.config.switches import SWITCHES, Switch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def _switches() -> ModuleType:
    spec = importlib.util.spec_from_file_location("switches", ROOT / "docs" / "switches.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = re.findall(r"^\.venv/bin/multibodies (.*?)(?:\s+#.*)?$", README, re.M)


def test_table_is_up_to_date() -> None:
    assert _switches().updated(README) == README, "run `make readme`"


def test_every_switch_is_in_the_table() -> None:
    for switch in SWITCHES:
        assert f"`{switch.key}`" in README


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda s: s.key)
def test_the_paper_is_the_default_and_the_released_code_a_profile(switch: Switch) -> None:
    section, leaf = switch.key.split(".")
    values = [getattr(getattr(load_config(name), section), leaf) for name in ("paper", "released")]
    assert tuple(values) == switch.values


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
