"""The benchmarks run: structure of their table and arithmetic of ratios; nothing is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from multibodies.bench import harness, memory, quantising, samples, suite, table, throughput
from multibodies.bench.arguments import BENCHMARKS
from multibodies.bench.harness import Row, Setting, Times
from multibodies.core.body import JointBody
from multibodies.errors import UserError

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lighter benchmarks once, at tiny sizes."""
    folder = tmp_path_factory.mktemp("bench")
    light = ("quantising", "flow", "inference")
    suite.run(light, folder, device="cpu", rounds=1, threads=1, quick=True)
    return folder


@pytest.mark.drill
def test_every_benchmark_runs(tmp_path: Path) -> None:
    suite.run((), tmp_path, device="cpu", rounds=1, threads=1, quick=True)
    rows = json.loads((tmp_path / "bench.json").read_text())
    starts = (
        "joints",
        "K-means",
        "step",
        "inference",
        "prior",
        "training on",
        "bf16",
        "JPEG",
        "scheduling",
    )
    for start in starts:
        assert any(row["name"].startswith(start) for row in rows)
    assert all(row["ratio"] is not None or row["note"] for row in rows)
    assert len({row["name"] for row in rows}) == len(rows) >= 15


def test_the_json_has_what_was_promised(out: Path) -> None:
    rows = json.loads((out / "bench.json").read_text())
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names) == 4
    for row in rows:
        assert set(row) >= {"name", "ratio", "target", "unit", "ratio_of_minima", "verdict"}
        measured = isinstance(row["ratio"], float) and row["ratio"] > 0
        assert measured or (row["ratio"] is None and row["note"])
    energies = [row["energy"] for row in rows if row["name"].startswith("K-means")]
    assert len(energies) == 2


def test_the_table_has_every_row_and_the_machine(out: Path) -> None:
    rows = json.loads((out / "bench.json").read_text())
    text = (out / "bench.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| ")][1:] != []
    assert all(f"| {row['name']} | " in text for row in rows)
    assert torch.__version__ in text
    assert "threads 1" in text


def test_ratios_are_of_medians_and_of_minima() -> None:
    slow, fast = Times([8.0, 4.0, 6.0]), Times([1.0, 2.0, 4.0])
    row = harness.faster("x", slow, fast, 3)
    assert (row.ratio, row.of_minima) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("x", 2.0, 2), "met"),
        (Row("x", 1.9, 2), "missed"),
        (Row("x", 9.0, 2, failed=True), "missed"),
        (Row("x", 9.0, None), "reported"),
        (harness.absent("x", 2, "no compiler"), "not measured"),
    ],
)
def test_verdicts(row: Row, verdict: str) -> None:
    assert row.verdict == verdict
    assert table.entry(row)["verdict"] == verdict
    assert verdict in table.markdown([row], {})


def test_roads_take_turns() -> None:
    calls: list[str] = []
    roads = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    times = harness.alternate("x", roads, Setting(CPU, rounds=3, quick=True))
    assert calls == ["a", "b"] * 4  # the first turn warms up
    assert [len(t.samples) for t in times.values()] == [3, 3]


def test_too_much_energy_fails_whatever_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    harsh = quantising.SEARCHES[1]._replace(energy=0.5, target=0.0)
    monkeypatch.setattr(quantising, "SEARCHES", (harsh,))
    (row,) = quantising.measure(Setting(CPU, 1, quick=True))
    assert row.verdict == "missed"


def test_missing_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    rows = list(quantising.measure(Setting(CPU, 1, quick=True)))
    assert all(row.ratio is None and "not installed" in row.note for row in rows)


def test_weights_have_the_effective_sizes() -> None:
    sizes = 1 / samples.weights(16, 100).double().square().sum(1)
    assert float(sizes[0]) == pytest.approx(4, rel=0.01)
    assert float(sizes[-1]) == pytest.approx(100, rel=0.01)
    assert (sizes.diff() > 0).all()


def test_the_worst_body_touches_every_pair() -> None:
    body = JointBody(samples.worst_body(), ("h36m17",))
    assert sum(body.points.pairs_of) == 17 * 24 == 408


def test_peaks_by_the_cards_name() -> None:
    assert throughput.peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert throughput.peak_flops("NVIDIA H100 PCIe") == 756e12
    assert throughput.peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert throughput.peak_flops("some other card") is None


def test_unknown_names_and_absent_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'joint'.*joints"):
        suite.run(["joint"], tmp_path, device="cpu", rounds=1, threads=1, quick=True)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device"):
            suite.run((), tmp_path, device="cuda", rounds=1, threads=1, quick=True)
    assert not list(tmp_path.iterdir())


def test_it_loads_without_ray_mlflow_and_pydantic() -> None:
    """On a machine with torch, smplx and nflows alone all benchmarks can be imported."""
    blocked = ("ray", "mlflow", "pydantic", "pandas", "pyarrow", "sklearn", "body_models")
    lines = [f"import sys; sys.modules.update(dict.fromkeys({blocked}))"]
    lines += [f"import multibodies.bench.{name}" for name in (*BENCHMARKS, "suite", "__main__")]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.slow
def test_peak_memory_in_a_process_of_its_own() -> None:
    """The joints of 1600 bodies, their gradients and what those need: megabytes, no gigabyte."""
    peak = memory.peak_of("multibodies.bench.joints", "joints", Setting(CPU))
    assert peak is None or 2**20 < peak < 2**28
