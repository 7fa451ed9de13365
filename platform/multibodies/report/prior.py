"""The prior on the page and in the terminal: its gate and its calibration, in nats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multibodies import checkpoints
from multibodies.report import page
from multibodies.report.markdown import terminal

GATE = (
    ("flow, val", "val_nll"),
    ("flow, train", "train_nll"),
    ("full-covariance Gaussian, val", "gaussian_val_nll"),
)
CORRUPTIONS = {
    "noise_50mm": "50 mm Gaussian noise on every joint",
    "other_left_arm": "another body's left arm",
    "bent_20deg": "every joint turned by N(0, 20 deg)",
}


def prior_sections(provenance: Mapping[str, Any]) -> tuple[page.Section, ...]:
    """Return the section of a run's prior, or of its priors, if its provenance tells how it was
    judged."""
    if "priors" in provenance:
        return (priors_section(provenance["priors"]),)
    meta = provenance.get("prior_meta", {})
    return (prior_section(meta),) if "val_nll" in meta else ()


def prior_section(meta: Mapping[str, Any]) -> page.Section:
    """Return gate and calibration from the meta of a prior that was judged."""
    rows = tuple((name, f"{meta[key]:.1f}") for name, key in GATE)
    passed = "passed" if meta["passed"] else "NOT passed"
    caption = f"Gate {passed}: the flow must be below the Gaussian. Joint noise included."
    items: tuple[page.Item, ...] = (page.Table(("NLL, nats a skeleton", "value"), rows, caption),)
    if "calibration" in meta:
        items += (calibration_table(meta["calibration"]),)
    return page.Section("Prior: gate and calibration", items)


def priors_section(priors: Mapping[str, Mapping[str, Any]]) -> page.Section:
    """Return a line per prior of a sweep over priors."""
    rows = tuple(_line(name, meta) for name, meta in priors.items())
    header = ("prior", *(name for name, _ in GATE), "gate", *(f"AUC, {c}" for c in CORRUPTIONS))
    caption = "NLL in nats a skeleton, joint noise included; AUC: that a true skeleton is likelier"
    return page.Section("Priors: gate and calibration", (page.Table(header, rows, caption),))


def _line(name: str, meta: Mapping[str, Any]) -> tuple[str, ...]:
    found = meta.get("calibration", {})
    areas = [f"{found[c]['auc']:.3f}" if c in found else "not judged" for c in CORRUPTIONS]
    passed = "passed" if meta["passed"] else "NOT passed"
    return (name, *(f"{meta[key]:.1f}" for _, key in GATE), passed, *areas)


def describe(weights: str | Path) -> str:
    """Return the section of a fitted prior as text. Raises UserError as `read_meta`."""
    section = prior_section(checkpoints.read_meta(weights))
    return terminal(page.Page(str(weights), (section,)))


def calibration_table(found: Mapping[str, Mapping[str, float]]) -> page.Table:
    """Return a line per corruption: AUC and both mean log-densities."""
    rows = tuple(
        (
            CORRUPTIONS.get(name, name),
            f"{row['auc']:.3f}",
            f"{row['mean_true']:.1f}",
            f"{row['mean_corrupt']:.1f}",
        )
        for name, row in found.items()
    )
    header = ("corruption of val", "AUC", "mean log p, true", "mean log p, corrupted")
    return page.Table(header, rows, "AUC: chance that a true skeleton is the more likely of two")
