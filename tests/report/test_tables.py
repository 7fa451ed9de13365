"""Rows, effects and the golden numbers of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.report import paper
from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.effects import contrasts, effects
from multibodies.report.grid import grids
from multibodies.report.records import check_per_image, read_per_image
from multibodies.report.tables import table2, table_rows
from report_samples import FLOW, OURS, REPROJECTION, per_image

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "paper_tables.json").read_text())


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return per_image(noise=3.0)


def test_rows_are_means_over_images_and_seeds(records: pd.DataFrame) -> None:
    rows = table_rows(records)
    assert len(rows) == 2 * 2 * 3 * 4
    assert [row["dataset"] for row in rows] == ["wild"] * 24 + ["awild"] * 24
    lines = records.to_dict("records")
    keys = ("dataset", "lambda_ri", "flow_weight", "n")
    for row in rows:
        same = [line for line in lines if all(line[key] == row[key] for key in keys)]
        assert row["mpjpe_mm"] == pytest.approx(fmean(line["mpjpe_mm"] for line in same))
        assert row["re_mm"] == pytest.approx(fmean(line["re_mm"] for line in same))


def test_effects_are_what_was_put_in() -> None:
    found = {
        (e["dataset"], e["effect"], e["n"], e["metric"]): e
        for e in effects(grids(per_image()), samples=50)
    }
    expected = {
        "reprojection": REPROJECTION,
        "flow": FLOW,
        "reprojection at flow weight 0": REPROJECTION,
        "reprojection at flow weight 1": REPROJECTION,
        "flow at lambda_ri 0": FLOW,
        "flow at lambda_ri 5": FLOW,
        "ours: flow weight 0.1": OURS,
    }
    assert len(found) == len(expected) * 2 * 4 * 2
    for (_, effect, _, metric), record in found.items():
        size = expected[effect] * (1.0 if metric == "mpjpe" else 0.6)
        for key in ("difference_mm", "low", "high"):
            assert record[key] == pytest.approx(size)


def test_an_effect_is_the_bootstrap_of_image_differences_by_hand(records: pd.DataFrame) -> None:
    lines = {
        (r["dataset"], r["image_id"], r["seed"], r["lambda_ri"], r["flow_weight"], r["n"]): r
        for r in records.to_dict("records")
    }
    images = sorted({r["image_id"] for r in lines.values() if r["dataset"] == "awild"})

    def error(image: str, level: float, weight: float) -> float:
        return fmean(lines["awild", image, s, level, weight, 5]["re_mm"] for s in (0, 1))

    by_hand = [fmean(error(i, 5.0, w) - error(i, 0.0, w) for w in (0.0, 1.0)) for i in images]
    expected = paired_bootstrap(np.array(by_hand)[:, None], 300)
    (found,) = (
        e
        for e in effects(grids(records), samples=300)
        if (e["dataset"], e["effect"], e["n"], e["metric"]) == ("awild", "reprojection", 5, "re")
    )
    assert found["difference_mm"] == pytest.approx(fmean(by_hand))
    assert found["low"] == pytest.approx(expected.low[0])
    assert found["high"] == pytest.approx(expected.high[0])


def test_a_grid_holds_each_record_at_its_place(records: pd.DataFrame) -> None:
    shuffled = records.sample(frac=1.0, random_state=1)
    found = {grid.dataset: grid for grid in grids(shuffled)}
    assert list(found) == ["wild", "awild"]
    for line in records.sample(200, random_state=2).to_dict("records"):
        grid = found[line["dataset"]]
        image = int(line["image_id"][-3:])
        at = grid.of((line["lambda_ri"], line["flow_weight"]))[image]
        place = at[grid.seeds.index(line["seed"]), grid.ns.index(line["n"])]
        assert place.tolist() == [line["mpjpe_mm"], line["re_mm"]]


def test_table2_json_has_the_promised_keys(records: pd.DataFrame) -> None:
    content = json.loads(json.dumps(table2(records, {"profile": "smoke"}, samples=100)))
    assert (content["profile"], content["seeds"]) == ("smoke", [0, 1])
    row = {"dataset", "lambda_ri", "flow_weight", "n", "mpjpe_mm", "re_mm", "protocol"}
    assert all(set(r) == row for r in content["rows"])
    assert {r["protocol"] for r in content["rows"]} == {"embedded@1"}
    assert all(label.startswith("embedded@1: 14 of") for label in content["protocols"].values())
    effect = {"dataset", "effect", "n", "metric", "difference_mm", "low", "high"}
    assert all(set(e) == effect for e in (*content["effects"], *content["more_effects"]))
    assert {e["effect"] for e in content["effects"]} == {"reprojection", "flow"}
    assert len(content["effects"]) == 2 * 2 * 4 * 2
    assert content["ours"] == {"flow_weights": [0.1]}
    assert content["images"] == {"wild": 40, "awild": 40}


def test_effects_per_seed_average_to_the_effect(records: pd.DataFrame) -> None:
    content = table2(records, {"profile": "smoke"}, samples=100)
    for e in content["effects"]:
        keys = ("dataset", "effect", "n", "metric")
        seeds = [
            s["difference_mm"]
            for s in content["effects_per_seed"]
            if all(s[key] == e[key] for key in keys)
        ]
        assert len(seeds) == 2
        assert fmean(seeds) == pytest.approx(e["difference_mm"])


def test_only_the_contrasts_that_the_grid_allows() -> None:
    assert contrasts([(1.0, 1.0)]) == []
    assert [c.effect for c in contrasts([(1.0, 0.0), (1.0, 1.0)])] == [
        "flow",
        "flow at lambda_ri 1",
    ]
    assert [c.effect for c in contrasts([(0.0, 1.0), (2.0, 1.0)])] == [
        "reprojection",
        "reprojection at flow weight 1",
    ]
    several = contrasts([(0.0, 0.0), (1.0, 0.0), (5.0, 0.0)])[0]
    assert several.plus == ((1.0, 0.0), (5.0, 0.0))


def test_each_of_several_lambda_ri_is_set_against_none() -> None:
    cells = [(level, weight) for level in (0.0, 0.1, 1.0) for weight in (0.0, 1.0)]
    found = {c.effect: c for c in contrasts(cells)}
    assert found["reprojection"].plus == ((0.1, 0.0), (0.1, 1.0), (1.0, 0.0), (1.0, 1.0))
    assert found["reprojection of lambda_ri 0.1"].plus == ((0.1, 0.0), (0.1, 1.0))
    assert found["reprojection of lambda_ri 0.1"].minus == ((0.0, 0.0), (0.0, 1.0))
    assert "reprojection of lambda_ri 1" not in {c.effect for c in contrasts(cells[:4])}


def test_incomplete_or_bad_records_are_named() -> None:
    good = per_image(images=3)
    with pytest.raises(UserError, match="no column 'mpjpe_mm'; did you mean 'mpjpe'"):
        check_per_image(good.rename(columns={"mpjpe_mm": "mpjpe"}))
    with pytest.raises(UserError, match="no records"):
        check_per_image(good.iloc[:0])
    with pytest.raises(
        UserError, match=r"'awild' is not complete: 48 cells of 3 images .* has 2 \(seed 1"
    ):
        check_per_image(good.iloc[:-1])
    with pytest.raises(UserError, match=r"47 found"):
        check_per_image(good.iloc[:-3])
    with pytest.raises(UserError, match="image 'wild-000' of 'wild' is recorded twice at n = 1"):
        check_per_image(pd.concat([good, good.iloc[:1]]))
    spoilt = good.copy()
    spoilt.loc[4, "re_mm"] = np.inf
    with pytest.raises(UserError, match=r"image 'wild-001' .* not finite at n = 5"):
        check_per_image(spoilt)


def test_numbers_of_two_protocols_do_not_share_a_table() -> None:
    mixed = per_image(images=3)
    mixed.loc[mixed["seed"] == 1, "protocol"] = "embedded@1+rigid"
    with pytest.raises(UserError, match=r"'awild' was scored by several protocols \(embedded@1, e"):
        check_per_image(mixed)


def test_older_records_say_that_their_protocol_is_not_recorded() -> None:
    content = table2(per_image(images=3).drop(columns="protocol"), {"profile": "smoke"}, 100)
    assert content["protocols"] == {
        "wild": "protocol not recorded",
        "awild": "protocol not recorded",
    }


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"per_image\.parquet: no such file"):
        read_per_image(tmp_path / "per_image.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(UserError, match=r"bad\.parquet: not a readable Parquet file"):
        read_per_image(tmp_path / "bad.parquet")


def test_records_survive_parquet(tmp_path: Path, records: pd.DataFrame) -> None:
    records.sample(frac=1.0, random_state=0).to_parquet(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(read_per_image(tmp_path / "r.parquet"), check_per_image(records))


def flat(pairs: paper.Pairs) -> list[float]:
    return [value for pair in pairs for value in pair]


def test_the_papers_numbers_are_the_golden_ones() -> None:
    words = {False: "off", True: "on"}
    table = {
        f"reproj {words[row.reprojection]}, flow {words[row.flow]}": flat(row.values)
        for row in paper.TABLE2
    }
    assert table == GOLDEN["table2_3dpw_n_5_10_25"]
    table1 = {name: flat(pairs) for name, pairs in paper.TABLE1_OURS.items()}
    assert table1 == GOLDEN["table1_ours_n_1_5_10_25"]


def test_the_papers_tables_agree_with_each_other_and_the_readme() -> None:
    assert paper.TABLE2[3].values == paper.TABLE1_OURS["3DPW"][1:]
    for kind, name in (("U", "H36M"), ("U", "AH36M"), ("W", "A3DPW")):
        # method: these rows of Table 1 are the README's, to the paper's rounding
        np.testing.assert_allclose(paper.TABLE1_OURS[name], paper.README[name, kind], atol=0.4)
    np.testing.assert_allclose(paper.TABLE2[2].values, paper.README["3DPW", "U"][1:], atol=0.06)


def test_the_papers_effects() -> None:
    assert paper.table2_effect("reprojection", 5, "mpjpe") == pytest.approx(
        ((82.7 - 86.4) + (82.2 - 84.1)) / 2
    )
    assert paper.table2_effect("flow", 25, "re") == pytest.approx(
        ((55.8 - 56.3) + (55.6 - 55.9)) / 2
    )
