"""Which protocol scores which dataset, and what stands beside its numbers."""

from __future__ import annotations

import pytest

from multibodies.config import AMBIGUOUS, RELEASED, SPLITS, EvaluationConfig
from multibodies.errors import UserError
from multibodies.protocols import PROTOCOLS, label_of, protocol_of


def chosen(dataset: str, **settings: str) -> str:
    return protocol_of(EvaluationConfig.model_validate(settings), dataset).key


def test_auto_is_the_datasets_own() -> None:
    own = {
        "h36m": "h36m-p2@1",  # the paper's text; its supplement has #1
        "ah36m": "ah36m@1",
        "3dpw": "3dpw@1",
        "a3dpw": "a3dpw@1",
        "mpii3d": "mpii3d@1",
    }
    assert {name: chosen(name) for name in own} == own
    for split in SPLITS + AMBIGUOUS:
        assert chosen(split.partition("-")[0]) == "embedded@1"


def test_a_named_protocol_is_for_its_own_datasets_and_for_unknown_ones() -> None:
    assert chosen("h36m", protocol="h36m-p1") == "h36m-p1@1"
    assert chosen("ah36m", protocol="h36m-p1") == "h36m-p1@1"
    assert chosen("3dpw", protocol="h36m-p1") == "3dpw@1"
    assert chosen("wild", protocol="h36m-p2") == "embedded@1"
    assert chosen("mine", protocol="mpii3d") == "mpii3d@1"


def test_departures_are_named_in_the_key() -> None:
    assert chosen("wild", alignment="rigid") == "embedded@1+rigid"
    both = chosen("h36m", alignment="rigid", truth_centre="mid_hips")
    assert both == "h36m-p2@1+rigid+mid_hips"
    released = EvaluationConfig(**RELEASED["evaluation"])
    assert protocol_of(released, "h36m").key == "h36m-p2@1+mid_hips"


def test_labels_say_what_was_measured() -> None:
    embedded = protocol_of(EvaluationConfig(), "wild").label
    assert embedded == (
        "embedded@1: 14 of H36M's 17 joints, root at joint 0, Procrustes with scale, all frames"
    )
    h36m = protocol_of(EvaluationConfig(truth_centre="mid_hips", alignment="rigid"), "h36m").label
    for part in ("joints 1 and 4", "without scale", "every 5th frame", "camera 60457274", "S9"):
        assert part in h36m
    assert "17 of H36M's 17" in protocol_of(EvaluationConfig(), "mpii3d").label


def test_every_protocol_has_sound_joints_and_its_own_name() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert len(set(protocol.joints)) == len(protocol.joints) in (14, 17)
        assert set((*protocol.joints, *protocol.root, *protocol.truth_root)) <= set(range(17))


@pytest.mark.parametrize(
    ("settings", "dataset", "message"),
    [
        ({"protocol": "3dwp"}, "3dpw", "unknown protocol '3dwp'; did you mean '3dpw'"),
        ({}, "3dwp", "dataset '3dwp' has no protocol of its own; did you mean '3dpw'"),
    ],
)
def test_unknown_names_are_refused(settings: dict[str, str], dataset: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen(dataset, **settings)


@pytest.mark.parametrize("dataset", ["wild", "h36m", "mpii3d"])
@pytest.mark.parametrize("alignment", ["similarity", "rigid"])
@pytest.mark.parametrize("centre", ["pelvis", "mid_hips"])
def test_a_recorded_key_leads_back_to_its_label(dataset: str, alignment: str, centre: str) -> None:
    settings = {"alignment": alignment, "truth_centre": centre}
    protocol = protocol_of(EvaluationConfig.model_validate(settings), dataset)
    assert label_of(protocol.key) == protocol.label


@pytest.mark.parametrize("key", ["embedded@0", "lost@1", "embedded@1+bent", "not recorded"])
def test_a_key_of_another_program_stays_as_it_is(key: str) -> None:
    assert label_of(key) == key
