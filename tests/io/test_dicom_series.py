"""Which series a folder holds, which one is meant, and that no word about the patient leaves it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence as Items
from pydicom.uid import BasicTextSRStorage

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.dicom.files import dicom_files, holds_dicom, is_dicom
from napari_pgrd.io.dicom.listing import SeveralSeriesError, choose, list_series
from napari_pgrd.io.dicom.series import read_series
from tests.dicoms import PATIENT, base, ramp, save, write_enhanced, write_series


def sentence(path: Path, series: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_series(path, series)
    return str(caught.value)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two scans and what lies beside scans: a localiser, a report, a screenshot, DICOMDIR, foreign files."""
    write_series(tmp_path / "a", ramp(), elements={"number": 3})
    write_series(tmp_path / "b", ramp(8, 7, 5), elements={"number": 12, "modality": "CT"})
    write_series(
        tmp_path / "c", ramp(slices=2), elements={"number": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    report = base("SR", 99, SOPClassUID=BasicTextSRStorage)
    report.ContentSequence = Items([Dataset()])
    save(report, tmp_path / "report.dcm")

    def nowhere(k: int, ds: Dataset) -> None:
        del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing

    write_series(tmp_path / "d", ramp(slices=1), elements={"number": 200, "modality": "OT"}, change=nowhere)
    (tmp_path / "README.txt").write_text("Sally's disc")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").write_bytes(b"\0" * 128 + b"DICM rubbish")
    return tmp_path


def test_every_series_is_listed_with_what_it_is(study: Path) -> None:
    found = [(one.key, one.modality, one.images, one.size, one.kind) for one in list_series(study)]
    assert found == [
        ("1", "MR", 2, (6, 5), "a localiser"),
        ("3", "MR", 4, (6, 5), ""),
        ("12", "CT", 5, (8, 7), ""),
        ("99", "", 1, (0, 0), "a report"),
        ("200", "OT", 1, (6, 5), "a picture without a place in the patient"),
    ]


def test_several_scans_are_a_choice_and_only_scans_are_offered(study: Path) -> None:
    with pytest.raises(SeveralSeriesError) as caught:
        read_series(study)
    assert [one.key for one in caught.value.series] == ["3", "12"]
    text = str(caught.value)
    assert "2 series: 3: MR, 6 x 5 pixels, 4 images, T1 sag; 12: CT, 8 x 7 pixels, 5 images, T1 sag." in text
    assert "--series" in text
    assert read_series(study, "12").shape == (8, 7, 5)
    assert read_series(study, "3").name == "MR series 3"
    uid = caught.value.series[1].uid
    assert read_series(study, uid).name == "CT series 12"


def test_a_series_that_is_not_there_or_no_scan_is_said_with_the_choice(study: Path) -> None:
    assert "There is no series 4 there. Choose among: 3: MR" in sentence(study, "4")
    assert "no series of that name" in (text := sentence(study, "Secret Sally")) and "Sally" not in text
    assert "Series 99 is a report" in (text := sentence(study, "99")) and "Choose among: 3: MR" in text
    assert "Series 1 is a localiser" in sentence(study, "1")
    assert "Series 200 is a picture without a place" in sentence(study / "d")
    assert "no series" in sentence(study, "")


def test_a_file_stands_for_its_series(study: Path) -> None:
    mixed = study / "mixed"
    mixed.mkdir()
    for path in [*(study / "a").iterdir(), *(study / "b").iterdir()]:
        shutil.copy(path, mixed / f"{path.parent.name}{path.stem}")
    assert read_series(mixed / "a3").shape == (6, 5, 4)
    assert read_series(mixed / "b3").shape == (8, 7, 5)
    assert read_series(mixed / "b3", "3").shape == (6, 5, 4)


def test_one_scan_among_other_things_is_read_without_a_question(study: Path) -> None:
    shutil.rmtree(study / "b")
    assert read_series(study).shape == (6, 5, 4)


def test_series_with_one_number_and_with_none_can_be_told_apart(tmp_path: Path) -> None:
    for letter, number in (("a", 3), ("b", 3), ("c", None), ("d", None)):
        write_series(tmp_path / letter, ramp(5 + ord(letter) % 4), elements={"number": number})
    with pytest.raises(SeveralSeriesError) as caught:
        read_series(tmp_path)
    assert [one.key for one in caught.value.series] == ["3", "3-2", "none", "none-2"]
    shapes = {read_series(tmp_path, one.key).shape for one in caught.value.series}
    assert len(shapes) == 4
    assert read_series(tmp_path / "c").name == "MR series without number"
    assert read_series(tmp_path, "none-2").name == "MR series without number 2"


def test_slices_without_any_series_uid_belong_together_in_one_folder(tmp_path: Path) -> None:
    for letter in "ab":
        write_series(tmp_path / letter, ramp(), elements={"SeriesInstanceUID": "", "StudyInstanceUID": ""})
    assert read_series(tmp_path / "a").shape == (6, 5, 4)
    with pytest.raises(SeveralSeriesError):
        read_series(tmp_path)


def test_files_of_any_name_without_preamble_and_in_folders_are_found(tmp_path: Path) -> None:
    shared = base()
    write_series(
        tmp_path, ramp(), shared=shared, names=lambda k: ("IM0001", "CT.1.2.840.1", "sub/x.ima", "deep/er/7")[k]
    )
    path = tmp_path / "IM0001"
    path.write_bytes(path.read_bytes()[132:])
    assert is_dicom(path) and not is_dicom(__file__) and not is_dicom(tmp_path / "none")
    assert len(dicom_files(tmp_path)) == 4 and holds_dicom(tmp_path)
    assert np.array_equal(read_series(tmp_path).data[0], ramp())


def test_a_dicomdir_is_passed_over_in_a_folder_and_said_if_given(tmp_path: Path) -> None:
    disc = FileSet()
    for path in write_series(tmp_path / "in", ramp()):
        disc.add(path)
    disc.write(tmp_path / "disc")
    assert np.array_equal(read_series(tmp_path / "disc").data[0], ramp())
    assert "table of contents" in sentence(tmp_path / "disc" / "DICOMDIR")


def test_an_end_slice_cut_off_within_its_header_is_missed(tmp_path: Path) -> None:
    """Its series may then not be known, and what is left of the stack has no gap."""
    last = write_series(tmp_path, ramp())[-1]
    whole = last.read_bytes()
    for keep in range(150, whole.index(b"\x28\x00\x10\x00"), 40):  # up to Rows
        last.write_bytes(whole[:keep])
        assert "1 of 4 DICOM files there cannot be read" in sentence(tmp_path), keep


def test_nothing_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("x")
    assert "no DICOM image" in sentence(tmp_path) and not holds_dicom(tmp_path)
    assert "no file or folder" in sentence(tmp_path / "none")
    assert "neither NIfTI nor DICOM" in sentence(tmp_path / "note.txt")


def test_a_localiser_among_slices_is_named(tmp_path: Path) -> None:
    def mark(k: int, ds: Dataset) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER" if k == 0 else "AXIAL"]

    write_series(tmp_path, ramp(), change=mark)
    assert "In series 3, image 1 is a localiser" in sentence(tmp_path)


def test_a_segmentation_is_no_scan(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(), elements={"modality": "SEG", "number": 7})
    assert "Series 7 is a segmentation" in sentence(tmp_path) and "Correct > From file" in sentence(tmp_path)


def spoilt(tmp_path: Path) -> list[Path]:
    """Folders that raise every kind of sentence, the patient in every file name."""
    out = []

    def case(name: str, **change: object) -> Path:
        folder = tmp_path / f"Secret_Sally_{name}"
        write_series(
            folder,
            ramp(),
            names=lambda k: f"Sally_19700101_{k}",
            change=lambda k, ds: [setattr(ds, a, v) for a, v in change.items()] if k == 1 else None,
        )
        out.append(folder)
        return folder

    case("colour", PhotometricInterpretation="RGB", SamplesPerPixel=3)
    case("size", Rows=4)
    case("place", ImagePositionPatient=[0, 0, 1])
    case("number", InstanceNumber=None, PixelSpacing=[9, 9])
    case("modality", Modality="SECRET_SALLY", RescaleSlope="0")
    cut = case("cut") / "Sally_19700101_2"
    cut.write_bytes(cut.read_bytes()[:-20])
    rubbish = case("rubbish") / "Sally_19700101_3"
    rubbish.write_bytes(rubbish.read_bytes()[:140] + b"Sally" * 9)
    for letter in "ab":
        write_series(
            out[0].parent / "Secret_Sally_two" / letter, ramp(), elements={"SeriesDescription": "Secret^Sally 1970"}
        )
    return [*out, tmp_path / "Secret_Sally_two", tmp_path / "Secret_Sally_none"]


def test_no_sentence_warning_or_log_says_who_the_patient_is(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)
    folders = spoilt(tmp_path)
    wrong = {"PatientName": "Secret^Sally^" * 9, "StudyInstanceUID": "Sally"}
    write_series(tmp_path / "Sally", ramp(), elements=wrong)
    assert "Sally" in caplog.text  # pydicom quotes what is wrong
    caplog.clear()
    recwarn.clear()
    capfd.readouterr()
    texts = [sentence(folder) for folder in folders]
    volume = read_series(tmp_path / "Sally")
    # What is kept is not shown by accident either.
    texts += [repr(volume), repr(volume.source), volume.name, caplog.text, *capfd.readouterr()]
    texts += [repr(choose(tmp_path / "Sally")), *(str(w.message) for w in recwarn.list)]
    for text in texts:
        for secret in ("sally", "secret", *PATIENT[1:], "20200202", "STUDY-7", "ACC-0815", str(tmp_path)):
            assert secret.lower() not in text.lower(), text


def test_what_is_kept_for_exports_is_the_header_as_it_was(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "one.dcm", ramp())
    (kept,) = {id(ds): ds for ds in read_series(path).source.datasets}.values()
    whole = dcmread(path)
    del whole.PixelData
    assert kept == whole and kept.PatientName == PATIENT[0]
