"""DICOM folders and files opened in the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_pgrd.io.dicom.listing import SeveralSeriesError
from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.io.dicom.source import DicomSource
from napari_pgrd.viewer import reader
from napari_pgrd.viewer.drop import holds_no_picture
from napari_pgrd.viewer.reader import NOTHING, VOLUME, get_reader, read
from napari_pgrd.viewer.series_choice import SeriesDialog
from tests.dicoms import ramp, write_series
from tests.hands import find, wait
from tests.tiny import blob_volume
from tests.viewer.test_drop import drop


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A series of blobs; the patient's name is in folder and file names."""
    data = blob_volume()[0].data[0].round().astype(np.int16)
    write_series(tmp_path / "Sally", data, spacing=(1, 1, 1), names=lambda k: f"Sally.{k}")
    return tmp_path / "Sally"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two scans in one folder."""
    write_series(tmp_path / "two" / "a", ramp(), elements={"number": 3})
    write_series(tmp_path / "two" / "b", ramp(9, 8, 7), elements={"number": 12, "modality": "CT"})
    return tmp_path / "two"


def in_dialog(act) -> list[SeriesDialog]:
    """Do something in the dialog when it opens; returns where it will be found."""
    timer, seen = QTimer(), []
    timer.setInterval(50)

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, SeriesDialog) and dialog.isVisible() and not seen:
            seen.append([dialog.list.topLevelItem(i).text(0) for i in range(dialog.list.topLevelItemCount())])
            act(dialog)
            timer.stop()

    timer.timeout.connect(look)
    timer.start()
    seen_timer.append(timer)  # else it is collected
    return seen


seen_timer: list[QTimer] = []


def open_row(row: int):
    def act(dialog: SeriesDialog) -> None:
        dialog.list.setFocus()
        for _ in range(row):
            QTest.keyClick(dialog.list, Qt.Key.Key_Down)
        find(dialog, "series_buttons").button(QDialogButtonBox.StandardButton.Open).click()

    return act


def test_files_are_known_by_content_and_offered_by_name(scan: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "note").write_text("x")
    assert get_reader(str(scan)) is read and get_reader(str(scan / "Sally.3")) is read
    assert get_reader([str(scan / "Sally.3"), str(scan / "Sally.4")]) is read
    assert get_reader(str(plain)) is None and get_reader(str(plain / "note")) is None and get_reader([]) is None

    def offered(name: str) -> bool:
        return "napari-pgrd.read" in {r.command for r in PluginManager.instance().iter_compatible_readers([name])}

    PluginManager.instance().discover()
    assert all(
        map(offered, ("a.nii.gz", "a.dcm", "IM0001", "CT.1.3.12.2.1107.30000022", "1.2.840.1", "x.IMA", str(scan)))
    )
    assert not any(map(offered, ("a.png", "b.tif", "table.csv", "scan.h5", "film.mp4")))


def test_a_layer_shows_a_series_upright_and_is_named_without_the_patient(scan: Path) -> None:
    ((data, meta, kind),) = read([str(scan / "Sally.1"), str(scan), str(scan / "Sally.2")])
    volume = meta["metadata"][VOLUME]
    assert kind == "image" and meta["name"] == "MR series 3" and isinstance(volume.source, DicomSource)
    assert np.array_equal(data, volume.data[0, :, :, ::-1].T)  # columns to the left, rows to the back, top first
    assert meta["units"] == ("mm",) * 3 and meta["scale"] == (1, 1, 1)


def test_a_scan_of_few_values_is_no_mask(tmp_path: Path) -> None:
    write_series(tmp_path, (ramp() % 3).astype(np.int16))
    assert read(str(tmp_path))[0][2] == "image"


def test_of_several_series_the_reader_chooses_one_or_none(qtbot, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = in_dialog(open_row(1))
    ((data, meta, _),) = read(str(two))
    assert seen == [["3", "12"]] and meta["name"] == "CT series 12" and data.shape == (7, 8, 9)
    in_dialog(lambda dialog: QTest.keyClick(dialog, Qt.Key.Key_Escape))
    assert read(str(two)) == NOTHING
    monkeypatch.setattr(reader, "can_ask", lambda: False)
    with pytest.raises(SeveralSeriesError):
        read(str(two))


def test_a_dropped_folder_is_read_sampled_and_its_window_is_free(qtbot, review, scan: Path) -> None:
    before = len(review.viewer.layers)
    drop(review.viewer, scan)
    assert QApplication.activeModalWidget() is None
    wait(qtbot, lambda: len(review.viewer.layers) == before + 1)
    layer = review.viewer.layers[-1]
    assert layer.name == "MR series 3" == review.state.source and review.state.sentence == ""
    assert np.array_equal(review.desk.volume.data, read_series(scan).data)
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn == 3)
    assert "Sally" not in str(review.dock.exports.folder) and "MR series 3" in str(review.dock.exports.folder)


def test_every_file_of_a_series_may_be_dropped_and_opens_it_once(qtbot, review, scan: Path, two: Path) -> None:
    before = len(review.viewer.layers)
    drop(review.viewer, *sorted(scan.iterdir()), review.file, two / "b" / "2.dcm")
    wait(qtbot, lambda: len(review.viewer.layers) == before + 3 and review.dock.opening.worker is None)
    names = [layer.name for layer in review.viewer.layers][before:]
    assert names[1:] == ["MR series 3", "CT series 12"]  # the NIfTI file comes at once


def test_a_dropped_folder_of_several_series_asks(qtbot, review, two: Path) -> None:
    before = len(review.viewer.layers)
    seen = in_dialog(open_row(1))
    drop(review.viewer, two)
    wait(qtbot, lambda: len(review.viewer.layers) == before + 1)
    assert seen and review.viewer.layers[-1].name == "CT series 12"
    in_dialog(lambda dialog: find(dialog, "series_buttons").button(QDialogButtonBox.StandardButton.Cancel).click())
    drop(review.viewer, two)
    wait(qtbot, lambda: review.dock.opening.worker is None)
    assert len(review.viewer.layers) == before + 1


def test_a_series_that_cannot_be_read_is_a_sentence(qtbot, review, scan: Path) -> None:
    (scan / "Sally.7").unlink()
    before = len(review.viewer.layers)
    drop(review.viewer, *list(scan.iterdir())[:3])
    wait(qtbot, lambda: "missing between them" in find(review.dock, "sentence").text())
    text = find(review.dock, "sentence").text()
    assert "series 3" in text and "Sally" not in text
    assert len(review.viewer.layers) == before and review.dock.opening.worker is None


def test_closing_the_window_while_a_series_is_read_is_quiet(qtbot, review, scan: Path) -> None:
    drop(review.viewer, scan)
    assert review.dock.opening.worker is not None
    review.viewer.close()
    QApplication.processEvents()


def test_a_series_that_is_dropped_twice_is_open_once(qtbot, review, scan: Path, two: Path) -> None:
    drop(review.viewer, scan)
    wait(qtbot, lambda: review.state.source == "MR series 3" and review.dock.opening.worker is None)
    review.desk.choose_source("blobs")
    before = len(review.viewer.layers)
    drop(review.viewer, scan / "Sally.1")
    wait(qtbot, lambda: "MR series 3 is open already." in find(review.dock, "sentence").text())
    assert len(review.viewer.layers) == before and review.state.source == "MR series 3"
    drop(review.viewer, two / "b", scan)
    wait(qtbot, lambda: len(review.viewer.layers) == before + 1 and review.dock.opening.worker is None)
    wait(qtbot, lambda: "MR series 3 is open already." in find(review.dock, "sentence").text())


def test_a_dropped_segmentation_says_where_it_belongs(qtbot, review, tmp_path: Path) -> None:
    write_series(tmp_path / "seg", ramp(), elements={"modality": "SEG", "number": 7})
    drop(review.viewer, tmp_path / "seg")
    wait(qtbot, lambda: "Correct > From file" in find(review.dock, "sentence").text())
    assert "Series 7 is a segmentation" in find(review.dock, "sentence").text()


def test_a_folder_with_nothing_to_open_is_a_sentence_and_no_question(qtbot, review, tmp_path: Path) -> None:
    (folder := tmp_path / "notes").mkdir()
    for _ in range(2):  # empty, then with a text
        drop(review.viewer, folder)
        wait(qtbot, lambda: "There is no DICOM image" in find(review.dock, "sentence").text())
        assert QApplication.activeModalWidget() is None
        review.state.sentence = ""
        (folder / "note.txt").write_text("x", encoding="utf-8")
    (folder / "picture.png").touch()
    (tmp_path / "cells.zarr").mkdir()
    assert not holds_no_picture(str(folder)) and not holds_no_picture(str(tmp_path / "cells.zarr"))
