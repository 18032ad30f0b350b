"""The rules of the simulated reader, on cases that can be worked out by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import reader
import reader_summary
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.spec import read_spec
from tests.session.drawn import labels, prediction, tailed, volume
from tests.tiny import blob_volume, make_tiny_bundle

SHAPE = (9, 10, 11)
RULES = reader.Rules(radius=1.0, target=1.0, worth=(0.0,), cap=50, press=(1,))


def spec_of(classes=2, plane="sagittal"):
    spec = read_spec("hippocampus-mri")
    scope = spec.scope.model_copy(update={"start_plane": plane})
    return spec.model_copy(update={"labels": tuple(labels(classes)), "scope": scope})


def hand_of(truth, mask, rules=RULES, spacing=(1, 1, 1), plane="sagittal", classes=2):
    spec = spec_of(classes, plane)
    truth, mask = (spec.values[np.asarray(m, np.uint8)] for m in (truth, mask))
    return reader.Hand(volume(truth.shape, spacing), spec, truth, mask, rules)


def plus_and_square():
    """On sagittal slice 3 a plus of five voxels, which is a disc of 1 mm; on slice 6 a square of nine."""
    truth = np.zeros(SHAPE, bool)
    truth[3, 4, 3:6] = truth[3, 3:6, 4] = True
    truth[6, 3:6, 5:8] = True
    return truth


def test_a_case_worked_out_by_hand():
    truth = plus_and_square()
    hand = reader.read(hand_of(truth, np.zeros(SHAPE)))
    # The screen pages from 6 to 3. Of the square the middle plus, then two corners a stroke, from the edge between
    # them; the plus in one.
    assert (hand.strokes, hand.interactions) == (3 + 1, 4)
    assert hand.moves == 4
    assert hand.changed == 14
    assert hand.curve == pytest.approx([0, 10 / 19, 14 / 21, 18 / 23, 1])
    row = reader_summary.record(hand)
    assert row["reached"] and row["interactions"] == 4 and row["mL_changed"] == pytest.approx(0.014)
    np.testing.assert_array_equal(hand.mask, 10 * truth)


def test_a_stroke_must_be_worth_it_before_smaller_ones_are_made():
    truth = plus_and_square()
    truth[5, 8, 8] = True  # a lone voxel, paged past in the first sweep
    hand = hand_of(truth, np.zeros(SHAPE), replace(RULES, worth=(1 / 2, 0.0)))
    reader.read(hand)
    assert hand.curve[1:3] == pytest.approx([2 * 5 / (15 + 5), 2 * 10 / (15 + 10)])  # the square's middle, the plus
    assert hand.strokes == 5
    assert hand.moves == 4 + 2  # all slices, then 6 and 5 again


def test_the_reader_stops_at_the_target_and_gives_up_at_the_cap():
    truth = plus_and_square()
    hand = reader.read(hand_of(truth, np.zeros(SHAPE), replace(RULES, target=0.6)))
    assert (hand.strokes, hand.moves) == (2, 1)
    late = reader.read(hand_of(truth, np.zeros(SHAPE), replace(RULES, cap=3)))
    row = reader_summary.record(late)
    assert not row["reached"] and row["interactions"] == 3 and late.strokes == 3


def test_a_perfect_start_costs_nothing():
    masks, _ = tailed()
    p = prediction(masks)
    for options, again in ((False, None), (True, None), (True, lambda locked, mask: p)):
        hand = reader.read(hand_of(p.consensus, p.consensus), p, options, again)
        assert (hand.interactions, hand.moves, hand.changed, hand.curve) == (0, 0, 0, [1.0])
        assert reader_summary.record(hand)["reached"]


def test_the_disc_is_measured_in_mm_on_the_start_plane():
    empty, rules = np.zeros(SHAPE), replace(RULES, radius=2.0)
    assert hand_of(empty, empty, rules).disc.sum() == 13
    assert hand_of(empty, empty, rules, (1, 2, 1)).disc.sum() == 5 + 2
    assert hand_of(empty, empty, rules, (1, 2, 1), "coronal").disc.sum() == 13  # across y
    truth = empty.copy()
    truth[:, 4, 5] = 1  # a line across sagittal slices: a stroke a slice; along an axial one, five at a time
    assert reader.read(hand_of(truth, empty, rules)).strokes == 9
    assert reader.read(hand_of(truth, empty, rules, plane="axial")).strokes == 2


maps = hnp.arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 2))


@settings(max_examples=30, deadline=None)
@given(maps, maps)
def test_no_stroke_makes_a_voxel_wrong(truth, mask):
    hand = hand_of(truth, mask, classes=3)
    wrong = hand.mask != hand.truth
    assert hand.curve[0] == pytest.approx(hand.dice(hand.mask))
    for n, _ in enumerate(reader.plan(hand, None, False), 1):
        now = hand.mask != hand.truth
        assert not (now & ~wrong).any()
        assert now.sum() < wrong.sum()
        assert hand.strokes == hand.interactions == n
        wrong = now
    assert not wrong.any()


def test_places_come_first_and_alternatives_are_one_interaction():
    masks, tail = tailed()
    p = prediction(masks[1:])  # four of seven have the tail, so the consensus has it
    truth = masks[0].copy()
    truth[17, 30, 10] = True  # where all samples agree, on a slice that is paged to before the tail's
    without = reader.read(hand_of(truth, p.consensus), p)
    assert without.taken == 0
    assert without.strokes > 2
    assert not (without.mask[8:12, 6:14, 8:12] > 0).any()
    taken = reader.read(hand_of(truth, p.consensus), p, options=True)
    assert (taken.taken, taken.strokes, taken.interactions) == (1, 1, 2)
    assert taken.changed == tail.sum() + 1
    first = hand_of(truth, p.consensus)
    next(reader.plan(first, reader.Desk(p, first), False))
    assert first.mask[17, 30, 10] == 0  # the brush went to the place first
    right = reader.read(hand_of(p.consensus | truth, p.consensus), p, options=True)
    assert (right.taken, right.strokes) == (0, 1)  # no alternative there is better than what stands


def test_sampling_again_locks_what_changed_and_is_accepted_only_if_better():
    masks, _ = tailed()
    p = prediction(masks[1:])
    truth = masks[0].copy()
    truth[2, 30, 10] = True
    seen = []

    def proposing(new):
        def again(locked, mask):
            seen.append((locked.copy(), mask.copy()))
            return new

        return again

    better = reader.read(hand_of(truth, p.consensus), p, again=proposing(prediction([truth] * 3)))
    locked, mask = seen[0]
    np.testing.assert_array_equal(locked, mask != 10 * p.consensus)
    assert locked.any() and (mask[locked] == 10 * truth[locked]).all()
    assert (better.strokes, better.presses, better.accepted, better.interactions) == (1, 1, 1, 3)
    assert better.changed == (p.consensus != truth).sum()
    assert better.curve[1] == better.curve[2] < better.curve[3] == 1.0
    worse = reader.read(hand_of(truth, p.consensus), p, again=proposing(prediction([~truth] * 3)))
    plain = reader.read(hand_of(truth, p.consensus), p)
    assert (worse.presses, worse.accepted, worse.strokes) == (1, 0, plain.strokes)
    assert worse.interactions == plain.interactions + 2
    assert worse.changed == plain.changed
    assert worse.gains[0] < 0 < better.gains[0]


def test_every_reader_reads_every_case_and_an_interrupted_run_goes_on(tmp_path, monkeypatch, capsys):
    bundle = make_tiny_bundle(tmp_path / "tiny")
    names = json.loads(reader.SPLIT.read_text(encoding="utf-8"))["validation"][:2]
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i, name in enumerate(names):
        blobs, truth = blob_volume((12, 14, 10), seed=i)
        nib.save(nib.Nifti1Image(blobs.data[0], blobs.affine), tmp_path / "images" / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(truth, blobs.affine), tmp_path / "labels" / f"{name}.nii.gz")

    def run(*more):
        command = ["reader.py", "--data", str(tmp_path), "--bundle", str(bundle), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*command, "--samples", "2", "--steps", "1", "--name", "t", *more])
        reader.main()
        return json.loads((tmp_path / "out" / "reader_t.json").read_text(encoding="utf-8"))

    first = run("--cases", "1")
    assert [r["reader"] for r in first["rows"]] == list(reader.READERS)
    capsys.readouterr()
    both = run("--cases", "2", "--resume")
    said = capsys.readouterr()
    assert names[0] not in said.err and names[1] in said.err
    assert both["rows"][:5] == first["rows"]
    assert {r["case"] for r in both["rows"]} == set(names)
    assert str(tmp_path) not in json.dumps({k: v for k, v in both.items() if k != "command"})
    assert "--data DIR" in both["command"]
    assert both["bundle_sha256"] == Bundle.load(bundle).digest
    assert both["rules"]["cap"] == reader.CAP and "knows the truth" in both["rules_in_words"]
    assert both["result"].strip() == said.out.strip()
    for name in reader.READERS:
        n = [r["interactions"] for r in both["rows"] if r["reader"] == name]
        assert both["summary"][name]["interactions_mean"] == pytest.approx(np.mean(n))
    assert (tmp_path / "out" / "reader_t.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="other|another"):
        run("--cases", "2", "--resume", "--steps", "2")


def row(case, name, interactions, dice=(0.8, 0.95)):
    counts = dict.fromkeys(reader_summary.COUNTS, 1)
    return {"case": case, "reader": name, "interactions": interactions, "reached": interactions < 300, **counts,
            "mL_changed": 0.1, "dice_at_the_end": dice[-1], "gains_proposed": [], reader_summary.CURVE: [dice[0]] * 6,
            }  # fmt: skip


@pytest.mark.parametrize(("by", "word"), [(-5, "fewer"), (5, "more"), (0, "no clear difference")])
def test_the_sentence_says_what_the_numbers_say(by, word):
    rows = [
        row(str(case), name, 60 + case + (by if name == "places" else 0))
        for case in range(12)
        for name in reader.READERS
    ]
    summary = reader_summary.summarise(rows)
    against = summary["places"]["against_consensus"]["interactions"]
    assert against["mean"] == by
    assert against["wilcoxon_p"] == (None if by == 0 else pytest.approx(2 / 2**12, abs=2e-3))
    told = reader_summary.sentence(summary).split("Against the brush, from the consensus: ")[1]
    assert told.startswith(f"consensus + places {word}, {by:+.1f} interactions on average")
