"""Running reviews: offered after a crash, and only then; with real processes where a process is meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_state_path

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.session.autosave import (
    ENDED,
    KEPT_DAYS,
    VARIABLE,
    Autosave,
    discard,
    ended,
    home,
    unfinished,
)
from napari_pgrd.session.review import ImageMark, Review, load, save
from tests.session.reviews import GRID, assert_same, make_prediction, make_review, make_volume


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return tmp_path / "state" / "reviews"


def small() -> Review:
    return Review(ImageMark.of(make_volume()), "tiny", "0" * 64)


def crash(autosave: Autosave) -> None:
    """What a kill leaves: the lock is free, nothing was ended."""
    autosave.leave()


CHILD = """
import sys
import numpy as np
from napari_pgrd.session.autosave import Autosave, unfinished
from napari_pgrd.session.review import ImageMark, Review
from napari_pgrd.engine.volume import Volume

assert unfinished(sys.argv[1]) == [], "a window was offered another's review"
volume = Volume(np.zeros((1, 6, 5, 4), np.float32), np.eye(4))
autosave = Autosave.begin(Review(ImageMark.of(volume), "tiny", "0" * 64), sys.argv[1])
mask = np.zeros((6, 5, 4), np.uint8)
correction = autosave.start_correction(mask)
mask[2] = 1
correction.observe(mask, new=True)
assert "torch" not in sys.modules and "napari" not in sys.modules
print("painted", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_its_review_and_a_running_one_does_not(where):
    mine = Autosave.begin(small(), where)
    mine.start_correction(np.zeros(GRID, np.uint8))
    command = [sys.executable, "-c", CHILD, str(where)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "painted\n"
        assert unfinished(where) == []
        other = next(p for p in where.iterdir() if p != mine.folder)
        for take in (Autosave.resume, discard):
            with pytest.raises(InputError, match="Another window"):
                take(other)
        os.kill(child.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        child.wait()
    finally:
        child.kill()
        child.communicate()
    (left,) = unfinished(where)
    assert (left.folder, left.edits, left.bundle, left.problem) == (other, 1, "tiny", "")
    assert "6 x 5 x 4 voxels, tiny, 1 edit." in left.sentence
    resumed = Autosave.resume(left.folder)
    assert resumed.review.corrections[0].mask[2].all()
    assert unfinished(where) == []
    assert resumed.problem == ""


def test_everything_is_resumed_and_goes_on(tmp_path, where):
    review = make_review(tmp_path / "logs")
    autosave = Autosave.begin(review, where)
    assert_same(autosave.review, review)
    mask = autosave.review.corrections[1].mask
    mask[0] = 7
    autosave.review.corrections[1].observe(mask, new=True)
    assert not np.array_equal(review.corrections[1].mask, mask)  # the saved review's own log is left alone
    autosave.update(view={"slice": 5}, notes="seen")
    crash(autosave)

    resumed = Autosave.resume(unfinished(where)[0].folder)
    assert resumed.review.corrections[1].log.entries[-1].kind == "resume"
    np.testing.assert_array_equal(resumed.review.corrections[1].mask, mask)
    assert (resumed.review.view, resumed.review.notes) == ({"slice": 5}, "seen")
    correction = resumed.start_correction(np.ones(GRID, np.uint8), "prior", "Correction [2]")
    ones = correction.mask
    ones[1] = 0
    correction.observe(ones, new=True)
    crash(resumed)
    again = Autosave.resume(unfinished(where)[0].folder).review
    assert [c.name for c in again.corrections] == ["Correction", "Correction [1]", "Correction [2]"]
    np.testing.assert_array_equal(again.corrections[2].mask, ones)
    kept = (again.prediction.key, again.request.locks, again.places)
    assert kept == (review.prediction.key, review.request.locks, review.places)


def test_samples_are_written_once(where):
    autosave = Autosave.begin(small(), where)
    autosave.update(prediction=make_prediction(3))
    (first,) = autosave.folder.glob("samples-*")
    written = first.stat().st_mtime_ns
    autosave.update(places={"1": "accepted"})
    autosave.update(prediction=autosave.review.prediction)
    assert first.stat().st_mtime_ns == written
    autosave.update(prediction=make_prediction(4))
    (second,) = autosave.folder.glob("samples-*")
    assert second != first
    crash(autosave)
    assert Autosave.resume(autosave.folder).review.prediction.samples == 4


def test_threads_do_not_tread_on_each_other(where):
    """Samples are written in one thread while another paints and a third keeps the view."""
    autosave = Autosave.begin(small(), where)
    correction = autosave.start_correction(np.zeros(GRID, np.uint8))
    mask, failures = np.zeros(GRID, np.uint8), []

    def run(work) -> threading.Thread:
        def guarded() -> None:
            try:
                for i in range(8):
                    work(i)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def paint(i: int) -> None:
        mask.flat[i] = i + 1
        correction.observe(mask, new=True)

    jobs = (
        paint,
        lambda i: autosave.update(view={"slice": i}),
        lambda i: autosave.update(prediction=make_prediction(i + 1)),
    )
    for thread in [run(job) for job in jobs]:
        thread.join()
    assert not failures
    crash(autosave)
    found = Autosave.resume(autosave.folder)
    assert (found.problem, found.review.view, found.review.prediction.samples) == ("", {"slice": 7}, 8)
    np.testing.assert_array_equal(found.review.corrections[0].mask, mask)


def test_a_clean_end_is_not_offered_but_kept(where):
    autosave = Autosave.begin(small(), where)
    correction = autosave.start_correction(np.zeros(GRID, np.uint8))
    autosave.finish()
    assert unfinished(where) == []
    (kept,) = ended(where)
    resumed = Autosave.resume(kept.folder)  # the reader wants it back after all
    assert ended(where) == []
    np.testing.assert_array_equal(resumed.review.corrections[0].mask, correction.mask)


def test_setting_aside_deletes_nothing_at_once(where):
    autosave = Autosave.begin(small(), where)
    crash(autosave)
    files = {p.name for p in autosave.folder.iterdir()}
    discard(autosave.folder)
    assert unfinished(where) == []
    assert files <= {p.name for p in autosave.folder.iterdir()}
    assert [left.folder for left in ended(where)] == [autosave.folder]
    with pytest.raises(InputError, match="no longer there"):
        discard(where / "gone.pgrd")


def test_only_what_was_ended_long_ago_is_deleted(where):
    made = {name: Autosave.begin(small(), where) for name in ("old end", "new end", "old crash", "running")}
    (where / "begun.pgrd").mkdir()  # killed before session.json stood
    for name in ("old end", "new end"):
        made[name].finish()
    crash(made["old crash"])
    long_ago = time.time() - (KEPT_DAYS + 1) * 86400
    crashed = made["old crash"].folder
    for path in (made["old end"].folder / ENDED, *crashed.iterdir(), crashed, where / "begun.pgrd"):
        os.utime(path, (long_ago, long_ago))
    Autosave.begin(small(), where)
    there = {name for name, autosave in made.items() if autosave.folder.exists()}
    assert there == {"new end", "old crash", "running"}
    assert not (where / "begun.pgrd").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("1")
    with pytest.raises(ExportError, match=f"not being saved as you go: .* Set {VARIABLE}"):
        Autosave.begin(small(), tmp_path / "file" / "reviews")
    assert unfinished(tmp_path / "nowhere") == []


def test_where_running_reviews_live(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert home() == user_state_path("napari-pgrd", appauthor=False) / "reviews"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a"))
    assert home() == tmp_path / "a"
    assert home(tmp_path / "b") == tmp_path / "b"


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
def test_running_reviews_are_for_their_user_alone(where):
    autosave = Autosave.begin(small(), where)
    assert autosave.folder.stat().st_mode & 0o077 == 0


def test_a_damaged_review_is_offered_and_gives_what_is_whole(where):
    autosave = Autosave.begin(small(), where)
    correction = autosave.start_correction(np.zeros(GRID, np.uint8))
    autosave.update(prediction=make_prediction())
    mask = correction.mask
    mask[1] = 2
    correction.observe(mask, new=True)
    crash(autosave)
    (samples,) = autosave.folder.glob("samples-*")
    samples.write_bytes(b"")
    (left,) = unfinished(where)
    resumed = Autosave.resume(left.folder)
    assert samples.name in resumed.problem
    assert resumed.review.prediction is None
    np.testing.assert_array_equal(resumed.review.corrections[0].mask, mask)
    crash(resumed)

    (autosave.folder / "session.json").write_text("{")
    (left,) = unfinished(where)
    assert "session.json" in left.problem
    assert "session.json" in left.sentence
    with pytest.raises(InputError):
        Autosave.resume(left.folder)
    assert len(unfinished(where)) == 1  # and the lock was let go


def test_a_running_review_can_be_saved_as_a_file(tmp_path, where):
    review = make_review(tmp_path / "logs")
    autosave = Autosave.begin(review, where)
    assert_same(load(save(tmp_path / "case", autosave.review)), autosave.review)
