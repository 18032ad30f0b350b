"""What the controls may do, state by state; and volumes against counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_pgrd.engine.aggregate import Aggregate
from napari_pgrd.engine.spec import read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.state import Phase, ReviewState, controls, solver_and_eta, solver_key
from napari_pgrd.session.volumes import (
    interval_sentence,
    label_volumes,
    poorly_covered,
    reliability_sentence,
    unanimous_sentence,
)
from tests.tiny import make_tiny_bundle


def test_nothing_can_be_sampled_without_an_image_or_a_model():
    assert not controls(ReviewState()).can_sample
    assert controls(ReviewState()).can_open
    assert not controls(ReviewState(phase=Phase.READY)).can_sample
    assert controls(ReviewState(phase=Phase.READY, bundle="b")).can_sample


def test_while_running_only_cancel():
    c = controls(ReviewState(phase=Phase.RUNNING, bundle="b", progress_text="sample 3 of 8, 12 s left"))
    assert (c.can_cancel, c.can_sample, c.can_choose, c.can_export, c.can_correct) == (True, False, False, False, False)
    assert c.headline == "sample 3 of 8, 12 s left"


def test_drawn_samples_are_not_drawn_again():
    s = ReviewState(phase=Phase.REVIEWING, source="i", bundle="b", samples=8, drawn=8)
    s.drawn_settings = s.settings
    assert not controls(s).can_sample
    s.samples = 12
    assert controls(s).can_sample
    assert controls(s).sample_text == "Draw 4 more"
    s.seed = 5
    assert controls(s).sample_text == "Sample 12 times"
    assert "8 samples" in controls(s).headline
    one = replace(s, drawn=1, drawn_settings=("b", 1, 0, "", None, ""))
    assert "1 sample \u00b7 1 step \u00b7" in controls(one).headline
    assert "seed 0" in controls(s).headline  # the headline speaks of what was drawn, not of what is set


def test_a_method_brings_its_own_steps_and_keeps_the_readers_number(tmp_path):
    spec = read_spec(make_tiny_bundle(tmp_path / "tiny", further=["ddpm"]))
    s = ReviewState(bundle="b", method="pgrd", steps=30, samples=7, seed=3, solver="dpmpp2m")
    before = s.settings
    s.choose_method("thresholded", spec)
    assert (s.steps, s.samples) == (1, 7) and s.settings != before
    asked = s.request(spec)
    assert (asked.method, asked.steps, asked.samples, asked.seed, asked.solver) == ("thresholded", 1, 7, 3, None)
    asked.resolved(spec)
    s.choose_method("deterministic", spec)
    assert s.samples == 1 and s.request(spec).resolved(spec).samples == 1
    s.choose_method("ddpm", spec)
    assert (s.steps, s.samples) == (3, 4)
    assert s.request(spec).solver == "dpmpp2m"  # the reader's choice has come through


@pytest.mark.parametrize(
    ("solver", "eta", "key"),
    [
        (None, None, ""),
        ("ddim", None, "ddim"),
        ("ddim", 0.0, "ddim eta 0"),
        ("ddpm", 0.25, "ddpm eta 0.25"),
        (None, 1.0, "eta 1"),
    ],
)
def test_a_solver_and_its_eta_are_one_word(solver, eta, key):
    assert solver_key(solver, eta) == key
    assert solver_and_eta(key) == (solver, eta)


def test_another_eta_asks_for_other_samples(tmp_path):
    spec = read_spec(make_tiny_bundle(tmp_path / "b"))
    s = ReviewState(phase=Phase.REVIEWING, source="i", bundle="b", samples=8, drawn=6, solver="ddim eta 0", steps=3)
    r = s.request(spec).resolved(spec)
    assert (r.solver, r.eta, r.steps) == ("ddim", 0.0, 3)
    s.drawn_settings = s.settings
    assert controls(s).sample_text == "Draw 2 more"
    s.solver = "ddim eta 1"
    assert s.request(spec).resolved(spec).eta == 1.0
    assert controls(s).sample_text == "Sample 8 times"


def test_the_headline_names_another_method_and_steps_where_there_are_any():
    s = ReviewState(phase=Phase.REVIEWING, bundle="b", samples=2, drawn=2, method="thresholded", steps=1)
    s.drawn_settings = s.settings
    assert controls(s).headline == "2 samples \u00b7 prior, thresholded \u00b7 seed 0 \u00b7 0 s"
    s.method, s.steps = "no-dds", 8
    s.drawn_settings = s.settings
    assert "w/o DDS \u00b7 8 steps" in controls(s).headline


def test_the_state_tells_what_changed():
    s, heard = ReviewState(), []
    s.events.steps.connect(heard.append)
    s.steps = 3
    s.steps = 3
    assert heard == [3]


@pytest.mark.parametrize(("known", "unit", "size"), [(True, "mL", 0.006), (False, "voxels", 1.0)])
def test_volumes_count_voxels(tmp_path, known, unit, size):
    import torch

    spec = read_spec(make_tiny_bundle(tmp_path / "tiny"))
    volume = Volume(np.zeros((1, 4, 5, 6)), np.diag([1.0, 2.0, 3.0, 1.0]), spacing_known=known)
    rng = np.random.default_rng(0)
    aggregate = Aggregate(np.full((3, 4, 5, 6), 1 / 3, np.float32), 0.1)
    masks = [aggregate.add(torch.from_numpy(rng.random((3, 4, 5, 6), dtype=np.float32))) for _ in range(5)]
    prediction = aggregate.snapshot()
    for k, row in enumerate(label_volumes(prediction, volume, spec), 1):
        counts = [int((m == k).sum()) for m in masks]
        assert row.unit == unit
        assert row.consensus == pytest.approx(int((prediction.probability.argmax(0) == k).sum()) * size)
        assert (row.low, row.high) == pytest.approx(tuple(np.percentile(counts, (5, 95)) * size))
        assert row.interval is None
    fitted = {"level": 0.9, "cases": 21, "widening": {"anterior": 0.25}}
    spec = read_spec(make_tiny_bundle(tmp_path / "fitted", volume_interval=fitted))
    anterior, posterior = label_volumes(prediction, volume, spec)
    by = 0.25 * float(np.median([(m == 1).sum() for m in masks])) * size
    assert anterior.interval == pytest.approx((anterior.low - by, anterior.high + by))
    assert posterior.interval is None


def test_sentences_say_what_was_measured_or_that_it_was_not(tmp_path):
    unmeasured = read_spec(make_tiny_bundle(tmp_path / "a"))
    assert "not measured" in reliability_sentence(unmeasured, "anterior")
    figures = {
        "cases": 6,
        "steps": 8,
        "samples": 16,
        "volume_coverage": {"anterior": 1},
        "unanimous_error_share": 0.26,
        "dice": 0.8,
    }
    measured = read_spec(make_tiny_bundle(tmp_path / "b", reliability=figures))
    assert "1 of 6" in reliability_sentence(measured, "anterior")
    assert "26%" in unanimous_sentence(measured)
    assert poorly_covered(measured, "anterior") and not poorly_covered(unmeasured, "anterior")
    assert interval_sentence(measured, "anterior") == ""
    fitted = {"level": 0.9, "cases": 21, "widening": {"anterior": 0.25}}
    figures |= {"interval_coverage": {"anterior": 5}, "volume_coverage": {"anterior": 5}}
    honest = read_spec(make_tiny_bundle(tmp_path / "c", reliability=figures, volume_interval=fitted))
    assert interval_sentence(honest, "anterior") == "90% interval; held the true volume in 5 of 6 cases"
    assert not poorly_covered(honest, "anterior")
