"""Review folders: everything comes back, a crash at any moment leaves one whole, damage is said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.given import GivenPrior
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.folder import RequestRecord
from napari_pgrd.session.review import ImageMark, Review, bundle_mark, load, save
from tests.session.reviews import BOX, SHAPE, assert_same, make_prediction, make_review, make_volume
from tests.tiny import make_tiny_bundle


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return make_review(tmp_path / "logs")


@pytest.fixture
def saved(tmp_path: Path, review: Review) -> Path:
    return save(tmp_path / "case", review)


def test_everything_comes_back(saved, review):
    assert saved.name == "case.pgrd"
    assert_same(load(saved, make_volume()), review)


def test_an_empty_review_comes_back(tmp_path):
    empty = Review(ImageMark.of(make_volume()), "b", "0" * 64)
    assert_same(load(save(tmp_path / "a.pgrd", empty)), empty)


def test_further_samples_may_be_added_to_what_was_read(saved, review):
    """The key must be equal to one made anew, types and all, or predict() would start over."""
    assert load(saved).prediction.key == make_prediction().key
    assert type(load(saved).prediction.key[2]) is tuple
    assert type(load(saved).prediction.key[3]) is bytes


def test_a_request_is_kept_whole():
    """A new field of a request must be saved, too."""
    assert set(RequestRecord.model_fields) == {f.name for f in fields(Request)}


def test_a_given_prior_comes_back_to_the_last_bit(tmp_path, review):
    values = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    given = GivenPrior(values / values.sum(0) * 1.01)
    folder = save(tmp_path / "given", replace(review, request=replace(review.request, prior=given)))
    assert load(folder).request.prior.digest == given.digest
    (kept,) = folder.glob("prior-*.npz")
    save(folder, review)
    assert load(folder).request.prior is None and not kept.exists()


def test_nothing_names_the_patient_unless_the_reader_wants_it(tmp_path, saved, review):
    for path in saved.iterdir():
        assert b"DOE" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
    named = replace(review, image=ImageMark.of(make_volume(), "DOE_JANE.nii.gz"))
    assert load(save(tmp_path / "named", named)).image.name == "DOE_JANE.nii.gz"


def test_the_masks_lie_on_the_image_for_any_other_program(saved, review):
    for i, correction in enumerate(review.corrections, 1):
        image = nib.load(saved / f"correction-{i}.nii.gz")
        np.testing.assert_allclose(image.affine, make_volume().affine, rtol=1e-6)  # NIfTI holds float32
        whole = np.zeros(SHAPE)
        whole[tuple(slice(lo, hi) for lo, hi in BOX)] = correction.mask
        np.testing.assert_array_equal(np.asarray(image.dataobj), whole)


def test_saving_again_leaves_only_what_is_needed(saved, review, tmp_path):
    before = {path.name for path in saved.iterdir()}
    mask = review.corrections[0].mask
    mask[0] = 9
    review.corrections[0].observe(mask, new=True)
    later = replace(review, prediction=make_prediction(5), corrections=review.corrections[:1])
    save(saved, later)
    assert_same(load(saved), later)
    after = {path.name for path in saved.iterdir()}
    assert len(after) == len(before) - 2  # one log and one mask
    assert not {name for name in after if name.startswith(".")}


def test_a_review_that_was_read_can_be_edited_and_saved_in_place_or_elsewhere(saved, tmp_path):
    read = load(saved)
    mask = read.corrections[0].mask
    mask[1] = 9
    read.corrections[0].observe(mask, new=True)
    np.testing.assert_array_equal(load(saved).corrections[0].mask, mask)  # logged, though not saved
    assert_same(load(save(tmp_path / "elsewhere", read)), read)
    assert_same(load(save(saved, read)), read)


class Killed(BaseException):
    """What a kill is to the code: it ends there."""


def test_a_crash_at_any_moment_of_a_save_leaves_the_earlier_or_the_later(saved, review, tmp_path, monkeypatch):
    mask = review.corrections[0].mask
    mask[:] = 1
    review.corrections[0].observe(mask, new=True)
    later = replace(review, prediction=make_prediction(4, seed=9), notes="later", view={})
    real = {name: getattr(os, name) for name in ("replace", "fsync", "unlink", "open")}
    calls, kill_at, seen = 0, 0, set()

    def counted(name: str):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise Killed
            return real[name](*args, **kwargs)

        return call

    while True:
        kill_at, calls, folder = kill_at + 1, 0, tmp_path / "victim.pgrd"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counted(name))
            try:
                save(folder, later)
                finished = True
            except Killed:
                finished = False
        found = load(folder)
        seen.add(found.notes)
        assert found.notes in (review.notes, "later")
        assert found.prediction.samples == (4 if found.notes == "later" else 3)
        assert np.array_equal(found.corrections[0].mask, mask) == (found.notes == "later")
        save(folder, later)  # and saving again succeeds
        if finished:
            break
    assert kill_at > 20  # there were moments to die at
    assert seen == {review.notes, "later"}


def files_to_damage(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".nii.gz"))


@pytest.mark.parametrize("harm", ["missing", "empty", "cut"])
def test_damage_is_said_whatever_file_it_is_in(saved, harm):
    for name in files_to_damage(saved):
        path, content = saved / name, (saved / name).read_bytes()
        path.unlink() if harm == "missing" else path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
        with pytest.raises(InputError, match=r"is damaged|no saved review"):
            load(saved)
        path.write_bytes(content)
    load(saved)


def test_a_flipped_byte_is_said_or_changes_nothing(saved, review):
    for name in files_to_damage(saved):
        path, content = saved / name, (saved / name).read_bytes()
        if name == "session.json":
            path.write_bytes(content.replace(b'"entries": 4', b'"entries": 3', 1))
            with pytest.raises(InputError, match="edits-"):
                load(saved)
        else:
            said = 0
            for at in range(0, len(content), len(content) // 30):
                path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
                try:
                    assert_same(load(saved), review)  # a byte that says nothing, such as the hour in a zip header
                except InputError:
                    said += 1
            assert said > 15
        path.write_bytes(content)


def test_the_samples_of_another_review_are_not_taken_for_these(saved, review, tmp_path):
    other = save(tmp_path / "other", replace(review, prediction=make_prediction(seed=5)))
    mine, theirs = (json.loads((folder / "session.json").read_text())["samples"]["file"] for folder in (saved, other))
    shutil.copy(other / theirs, saved / mine)
    with pytest.raises(InputError, match=mine):
        load(saved)


def test_of_a_damaged_review_what_is_whole_can_be_had(saved, review):
    samples = json.loads((saved / "session.json").read_text())["samples"]["file"]
    (saved / samples).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"correction-1.nii.gz, correction-2.nii.gz"):
        load(saved)
    found = load(saved, strict=False)
    assert found.prediction is None
    np.testing.assert_array_equal(found.corrections[1].mask, review.corrections[1].mask)


def test_an_array_of_objects_is_never_unpickled(saved):
    record = json.loads((saved / "session.json").read_text())["samples"]
    bomb = np.array([{"a": 1}], dtype=object)
    np.savez(saved / record["file"], probability=bomb)
    with pytest.raises(InputError, match="is damaged"):
        load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"image": {"digest": "a"}},
        {"seen": {"axial": ["third"]}},
        {"request": None},
    ],
)
def test_a_session_that_makes_no_sense_is_refused(saved, change):
    path = saved / "session.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="session.json is missing, cut short or altered"):
        load(saved)


@pytest.mark.parametrize("name", ["../edits-0.log", "/etc/passwd", "session.json"])
def test_a_session_reads_no_file_outside_its_folder(saved, name):
    path = saved / "session.json"
    content = json.loads(path.read_text())
    content["corrections"][0]["file"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged"):
        load(saved)


def test_another_schema_is_named(saved):
    path = saved / "session.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    with pytest.raises(InputError, match="its schema is 2, this one reads 1"):
        load(saved)


def test_another_image_is_refused(saved):
    volume = make_volume()
    moved = volume.affine.copy()
    moved[0, 3] += 1
    others = [
        make_volume(seed=1),
        Volume(volume.data, moved),
        Volume(volume.data.transpose(0, 2, 1, 3), volume.affine),
    ]
    for other in others:
        with pytest.raises(InputError, match="made on another image"):
            load(saved, other)


def test_a_folder_of_something_else_is_left_alone(tmp_path, review):
    other = tmp_path / "thesis.pgrd"
    other.mkdir()
    (other / "chapter.txt").write_text("1")
    with pytest.raises(ExportError, match="Choose another name"):
        save(other, review)
    assert [p.name for p in other.iterdir()] == ["chapter.txt"]
    with pytest.raises(InputError, match="no saved review"):
        load(other)
    (tmp_path / "file.pgrd").write_text("1")
    with pytest.raises(ExportError, match="Choose another name"):
        save(tmp_path / "file.pgrd", review)


def test_a_place_that_cannot_be_written_is_said(tmp_path, review):
    (tmp_path / "file").write_text("1")
    with pytest.raises(ExportError, match="could not be saved"):
        save(tmp_path / "file" / "case", review)


def test_what_json_cannot_hold_is_refused_before_anything_is_replaced(saved, review):
    with pytest.raises(InputError, match="cannot be saved"):
        save(saved, replace(review, view={"camera": object()}))
    assert_same(load(saved), review)


def test_the_mark_of_a_bundle_is_that_of_the_loaded_bundle(tmp_path):
    folder = make_tiny_bundle(tmp_path / "tiny")
    assert bundle_mark(folder) == ("tiny", hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest())
    from napari_pgrd.engine.bundle import Bundle

    assert bundle_mark(folder)[1] == Bundle.load(folder).digest
