"""Rows of a comparison: kept, replaced when what made them changed, and the same numbers as an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.engine.bundle import save
from napari_pgrd.engine.errors import BundleError, InputError
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.request import Request
from napari_pgrd.evaluate import compare as module
from napari_pgrd.evaluate.compare import Plan, System, compare
from napari_pgrd.evaluate.entries import parse_entries
from napari_pgrd.evaluate.evaluate import evaluate
from napari_pgrd.evaluate.items import Item
from napari_pgrd.evaluate.report import record, write
from napari_pgrd.io.cases import CaseFiles, pair
from tests.cli.conftest import write as write_image
from tests.tiny import LABELS, blob_volume, make_tiny_bundle

REQUEST = Request(samples=3, steps=2, device="cpu")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("bundles")
    return make_tiny_bundle(root / "one", prior_temperature=0.5), make_tiny_bundle(root / "two", seed=1)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    root = tmp_path_factory.mktemp("data")
    for seed in range(2):
        volume, truth = blob_volume((16, 18, 14), seed=seed)
        write_image(root / "images" / f"blob{seed}.nii.gz", volume.data[0])
        write_image(root / "labels" / f"blob{seed}.nii.gz", truth)
    return pair(root / "images", root / "labels")


@pytest.fixture
def plan(bundles: tuple[Path, Path], cases: list[CaseFiles], tmp_path: Path) -> Plan:
    entries = parse_entries([f"one={bundles[0]}", f"two={bundles[1]}@1"])
    return Plan(tuple(entries), tuple(Item(c) for c in cases), REQUEST, tmp_path / "out", "one")


def by_name(systems: list[System]) -> dict[str, System]:
    return {s.entry.name: s for s in systems}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The systems that are computed, not read."""
    computed: list[str] = []
    real = module._answer

    def answer(system: System, *rest: object) -> object:
        computed.append(system.entry.name)
        return real(system, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_answer", answer)
    return computed


def test_a_comparison_says_what_an_evaluation_says(plan: Plan, cases: list[CaseFiles]) -> None:
    heard: list[float] = []
    systems = compare(plan, lambda fraction, text: heard.append(fraction))
    assert heard == sorted(heard) and heard[-1] == 1
    found = by_name(systems)
    assert {"one", "two", "prior", "prior, scaled"} <= set(found)
    report = evaluate(found["one"].bundle, cases, REQUEST)["methods"]
    for name, method in (("one", "pgrd"), ("prior", "prior"), ("prior, scaled", "prior_scaled")):
        for key in ("nll", "ece_roi", "hd95", "auroc_entropy_error"):
            mine = np.mean([row["numbers"][key] for row in found[name].rows])
            assert mine == pytest.approx(report[method][key], rel=1e-4), (name, key)
    for key in ("ged2", "hm_iou", "diversity", "pairwise_dice"):
        assert np.mean([row["numbers"][key] for row in found["one"].rows]) == pytest.approx(report["pgrd"][key])
    row = found["one"].rows[0]
    assert row["calls"] == 3 * 2 + 1 and row["samples"] == 3
    assert found["two"].rows[0]["calls"] == 3 * 1 + 1  # its own number of steps
    assert found["prior"].rows[0]["calls"] == 1 and found["prior"].rows[0]["parameters"] < row["parameters"]


def test_rows_are_kept_and_only_what_changed_is_computed_again(
    plan: Plan, bundles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = counted(monkeypatch)
    first = compare(plan)
    everything = len(computed)
    assert everything == len(first) * 2
    again = compare(plan)
    assert len(computed) == everything
    assert [s.rows for s in again] == [s.rows for s in first]

    path = next((plan.out / "rows" / "two").rglob("blob1.json"))
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")  # cut short
    compare(plan)
    assert computed[everything:] == ["two"]

    trained = make_tiny_bundle(tmp_path / "longer", seed=2)
    longer = replace(plan, entries=(plan.entries[0], replace(plan.entries[1], bundle=str(trained))))
    del computed[:]
    changed = by_name(compare(longer))
    assert computed == ["two", "two"]
    assert changed["two"].rows != by_name(first)["two"].rows

    del computed[:]
    compare(replace(plan, entries=longer.entries, request=replace(REQUEST, seed=1)))
    assert "prior" not in computed and computed.count("one") == 2


def test_a_stopped_comparison_goes_on(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = module._answer, []

    def stop(system: System, *rest: object) -> object:
        calls.append(system.entry.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(system, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_answer", stop)
        with pytest.raises(KeyboardInterrupt):
            compare(plan)
    computed = counted(monkeypatch)
    systems = compare(plan)
    assert len(computed) == len(systems) * 2 - 1


def test_the_curve_shares_rows_with_the_table(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = counted(monkeypatch)
    systems = compare(replace(plan, curve=(1, 2), curve_entries=("one",)))
    assert computed.count("one") == 4  # two cases, at 2 steps (as in the table) and at 1
    one = by_name(systems)["one"]
    assert one.curve[2] == one.rows and set(one.curve) == {1, 2}
    assert not by_name(systems)["two"].curve


def test_a_case_that_fails_is_named_and_the_rows_before_it_stay(
    plan: Plan, cases: list[CaseFiles], tmp_path: Path
) -> None:
    flat = tmp_path / "flat.nii.gz"
    write_image(flat, np.ones((16, 18, 14), np.float32))
    items = (*plan.items, Item(replace(cases[0], name="flat", images=(flat,))))
    with pytest.raises(InputError, match="one, flat: .*constant"):
        compare(replace(plan, items=items))
    assert len(list((plan.out / "rows" / "one").rglob("*.json"))) == 2


def test_what_cannot_be_compared_is_a_sentence(plan: Plan, tmp_path: Path) -> None:
    labels = [{**label, "name": f"other {label['name']}"} for label in LABELS]
    odd = make_tiny_bundle(tmp_path / "odd", labels=labels)
    with pytest.raises(BundleError, match="one and odd segment different labels"):
        compare(replace(plan, entries=(plan.entries[0], replace(plan.entries[1], name="odd", bundle=str(odd)))))
    with pytest.raises(InputError, match="two: .*choose between 1 and"):
        compare(replace(plan, entries=(plan.entries[0], replace(plan.entries[1], steps=100_000))))
    with pytest.raises(InputError, match="one: tiny cannot do 'magic'"):
        compare(replace(plan, entries=(replace(plan.entries[0], method="magic"),)))
    for change in ({"reference": "three"}, {"curve_entries": ("three",)}, {"pictures": ("three",)}):
        with pytest.raises(InputError, match="no .* named three"):
            replace(plan, **change)
    assert not list(plan.out.rglob("*.json"))  # found before anything was computed


def test_the_record_is_whole_and_names_no_place(plan: Plan, bundles: tuple[Path, Path]) -> None:
    made = record(plan, compare(plan), "pgrd compare")
    paths = write(plan.out, made)
    assert [p.suffix for p in paths] == [".md", ".csv", ".json"]
    text = paths[2].read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(made))
    assert str(bundles[0].parent) not in text and str(plan.out.parent) not in text
    assert made["cases"] == 2 and made["raters"] == [1]
    assert set(made["table"]) - {k for k in made["table"] if ":" in k} <= set(made["definitions"])
    assert "cannot reach p < .05" in paths[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.entry is not None])
def test_a_method_counts_its_own_networks_and_keeps_its_rows(
    method: str, cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_bundle(tmp_path / "held", further=[method])
    entries = parse_entries([f"PGRD={folder}", f"other={folder}:{method}"])
    plan = Plan(tuple(entries), (Item(cases[0]),), replace(REQUEST, samples=5), tmp_path / "out", "PGRD")
    systems = by_name(compare(plan))
    bundle, row = systems["other"].bundle, systems["other"].rows[0]
    prior, *own = bundle.networks("cpu", method)
    used = [*own, prior] if method == "no-dds" else own
    assert row["parameters"] <= sum(p.numel() for net in used for p in net.parameters())  # what trains alone is not run
    assert row["parameters"] > 0.5 * sum(p.numel() for net in own for p in net.parameters())
    steps = 2 if METHODS[method].stepwise else 1
    assert row["calls"] <= 5 * steps + 5 + (method == "no-dds")
    assert systems["prior, thresholded"].rows[0]["calls"] == 1

    changed = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    del changed["methods"], changed["weights"]  # as if it had never been added
    save(folder, changed)
    computed = counted(monkeypatch)
    alone = replace(plan, entries=plan.entries[:1])
    assert by_name(compare(alone))["PGRD"].rows == systems["PGRD"].rows and not computed
