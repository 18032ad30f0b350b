"""The report: every figure it was given, nothing it must not hold, a page any browser reads."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.spec import BundleSpec, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.report import Outcome, report_html
from napari_pgrd.session.summary import PlaceRow, ReviewSummary
from tests.tiny import LABELS, make_tiny_bundle

SHAPE = (20, 24, 18)
SPACING = (1.0, 0.5, 2.0)  # a voxel is 1 microlitre
MADE = {
    "date": "2025-01-02T10:11:12+00:00",
    "bundle": {"name": "tiny", "sha256": "0123456789abcdef" * 4},
    "request": {"samples": 2, "steps": 7, "seed": 43, "solver": "dpmpp2m", "eta": 0.25},
    "device": "cpu",
    "precision": "float32",
    "versions": {"napari-pgrd": "9.8.7", "torch": "6.5.4"},
}
RELIABILITY = {
    "cases": 34, "steps": 8, "samples": 16, "volume_coverage": {"anterior": 15, "posterior": 25}, "dice": 0.9,
    "interval_coverage": {"anterior": 31, "posterior": 30}, "unanimous_error_share": 0.19,
}  # fmt: skip
INTERVAL = {"level": 0.9, "cases": 21, "widening": {"anterior": 0.1, "posterior": 0.0}}
VOID = {"meta", "img", "br"}
PLACES = (
    PlaceRow("anterior end, anterior | background", "changed", 0.0871, "mL", (9, 12, 8)),
    PlaceRow("middle third", "accepted", 0.0314, "mL", (10, 15, 9)),
    PlaceRow("posterior end", "deferred", 0.02, "mL", (3, 5, 9)),
    PlaceRow("lower border", "open", 0.011, "mL", (0, 0, 17)),
)
REVIEW = ReviewSummary(
    PLACES, (12, 35), "A.B.", {"sampling": 27.4, "review": 192.0, "correct": 3661.0}, {"stroke": 12, "undo": 2}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(
        tmp_path_factory.mktemp("bundle"), labels=LABELS, reliability=RELIABILITY, volume_interval=INTERVAL,
        scope={"start_plane": "sagittal"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def spec(folder: Path) -> BundleSpec:
    return read_spec(folder)


def outcome(spec: BundleSpec, *, corrected: bool = True, spacing_known: bool = True) -> Outcome:
    """Two samples of 1000 and 1400 voxels of the anterior part beside 320 of the posterior one in both."""
    masks = np.zeros((2, *SHAPE), np.uint8)
    masks[0, 5:15, 10:20, 4:14] = 1
    masks[1, 5:15, 10:24, 4:14] = 1
    masks[:, 6:14, 5:10, 4:12] = 2
    votes = np.stack([(masks == k).sum(0) for k in range(3)]).astype(np.uint16)
    p = (votes / 2).astype(np.float32)
    p[1] *= 0.99  # no ties
    prediction = Prediction(p, votes, tuple(masks), p, p, np.zeros(SHAPE, np.float32))
    correction = None
    if corrected:
        correction = masks[0].copy()
        correction[5:15, 20:22, 4:14] = 1
    data = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    volume = Volume(data, np.diag([*SPACING, 1.0]), spacing_known, name="DOE_JANE_1970")
    return Outcome(prediction, volume, spec, None, correction)


class Page(HTMLParser):
    """What a page consists of; a tag left open, or closed where none is, fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def pictures(self) -> list[np.ndarray]:
        """Each decoded, in order."""
        out = []
        for tag, name, value in self.attributes:
            if (tag, name) == ("img", "src"):
                kind, _, content = value.partition(",")
                assert kind == "data:image/png;base64"
                raw = io.BytesIO(base64.b64decode(content, validate=True))
                out.append(np.asarray(Image.open(raw).convert("L")).astype(float))
        return out


@pytest.fixture(scope="module")
def html(spec: BundleSpec) -> str:
    return report_html(outcome(spec), REVIEW, MADE)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_headline_is_the_correction_with_its_validated_interval(page: Page) -> None:
    # 1000 to 1400 voxels: 5 % to 95 % is 1020 to 1380, the median 1200, so widened by 120 the interval is 900 to 1500.
    assert (
        "Anterior 1.20 mL corrected validated 90 % interval 0.90\u20131.50 mL "
        "(held the true volume in 31 of 34 validation cases)" in page.text
    )
    assert "Posterior 0.32 mL corrected validated 90 % interval 0.32\u20130.32 mL" in page.text
    assert "2 of 4 places settled, 1 changed, 1 deferred, 1 open, 12 of 35 slices seen" in page.text
    assert "on validation, 19% of the remaining errors lay where every sample agreed" in page.text


def test_the_table_of_volumes_holds_every_estimate(page: Page) -> None:
    head = "Label Correction Consensus Samples, 5\u201395 % 90 % interval Long axis"
    anterior = "Anterior 1.20 mL 1.00 mL 1.02\u20131.38 mL 0.90\u20131.50 mL"
    assert f"{head} {anterior}" in page.text
    # The furthest points of a box of 10 x 6 x 20 mm, the surface running half-way between voxels.
    lengths = [np.linalg.norm(np.array((10, 6, 20)) - cut) for cut in ((1, 0.5, 0), (0, 0.5, 2), (1, 0, 2))]
    assert f"{max(lengths):.1f} mm" in page.text
    assert "anterior, this range held the true volume in 15 of 34 validation cases" in page.text
    assert "measured with 16 samples of 8 steps" in page.text


def test_every_place_has_its_row(page: Page) -> None:
    assert "1. anterior end, anterior | background changed 0.087 mL at stake, slice 11 of 20" in page.text
    assert "2. middle third accepted 0.031 mL at stake, slice 10 of 20" in page.text
    assert "3. posterior end deferred 0.020 mL at stake" in page.text
    assert "4. lower border open 0.011 mL at stake, slice 20 of 20" in page.text
    assert len(page.pictures) == 1 + 2 * len(PLACES)


def test_how_it_was_made_stands_below(page: Page) -> None:
    for text in (
        "tiny, SHA-256 " + "0123456789abcdef" * 4,
        "2 samples, 7 steps, seed 43, solver dpmpp2m, eta 0.25; on cpu in float32",
        "20 \u00d7 24 \u00d7 18 voxels of 1 \u00d7 0.5 \u00d7 2 mm",
        "stroke 12, undo 2",
        "drawing samples 27 s; reader: Review 3 min 12 s, Correct 1 h 1 min 1 s (tab in sight, window active; pauses "
        "of 3 min or more left out)",
        "napari-pgrd 9.8.7, torch 6.5.4",
        "read by A.B.",
        "2025-01-02 10:11 UTC",
        "For research use; not a medical device",
    ):
        assert text in page.text, text


def test_the_page_needs_nothing_but_itself(html: str, page: Page) -> None:
    assert html.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not [a for _, a, _ in page.attributes if a.startswith("on") or a == "href"]
    assert all(value.startswith("data:image/png") for _, name, value in page.attributes if name == "src")
    assert "http:" not in html and "https:" not in html and "url(" not in html and "@import" not in html
    assert ("meta", "charset", "utf-8") in page.attributes and ("html", "lang", "en") in page.attributes
    assert "$" not in html


def test_pictures_show_something_and_what_was_changed(spec: BundleSpec, page: Page) -> None:
    assert all(picture.std() > 10 for picture in page.pictures)
    shown = page.pictures
    uncorrected = outcome(spec)
    assert uncorrected.correction is not None
    same = spec.values[uncorrected.prediction.consensus]
    untouched = Page(report_html(replace(uncorrected, correction=same), REVIEW, MADE)).pictures
    for i, differs in enumerate((True, True, False, False)):  # only the first two lie on slices of the change
        before, after = 1 + 2 * i, 2 + 2 * i
        assert np.array_equal(shown[before], untouched[before])
        assert (not np.array_equal(shown[after], untouched[after])) == differs, i
    assert not np.array_equal(shown[1], shown[2])


def test_the_image_is_named_only_if_the_reader_says_so(spec: BundleSpec, html: str) -> None:
    assert "DOE_JANE" not in html  # with a sign that no embedded picture holds by chance
    named = report_html(outcome(spec), replace(REVIEW, places=(), source_name="DOE_JANE & 1970"), MADE)
    assert "DOE_JANE &amp; 1970" in named
    assert "DOE_JANE" not in str(replace(REVIEW, source_name="DOE_JANE").record())


def test_hostile_text_stays_text(folder: Path, tmp_path: Path) -> None:
    bad = '<script>alert("$title")</script>\'"><img src=x onerror=y>'
    labels = [LABELS[0], {**LABELS[1], "name": bad}, LABELS[2]]
    spec = read_spec(make_tiny_bundle(tmp_path / "bad", labels=labels, title=bad))
    review = ReviewSummary(
        (PlaceRow(bad, "open", 0.1, bad, (9, 12, 8)),), (1, 2), bad, {bad: 1.0}, {bad: 3}, source_name=bad
    )
    made = {**MADE, "device": bad, "versions": {bad: bad}, "bundle": {"name": bad, "sha256": bad}}
    text = report_html(outcome(spec), review, made)
    assert "<script" not in text and "<img src=x" not in text
    page = Page(text)
    assert "script" not in page.tags and "onerror" not in {name for _, name, _ in page.attributes}
    assert bad in page.text
    assert f"{bad}, before" in [unescape(value) for _, name, value in page.attributes if name == "alt"]


def test_without_a_correction_it_is_a_report_of_the_consensus(spec: BundleSpec) -> None:
    page = Page(report_html(outcome(spec, corrected=False), ReviewSummary(), MADE))
    assert "Anterior 1.00 mL consensus of 2 samples, not corrected" in page.text
    assert len(page.pictures) == 1
    for word in ("Correction", "Places", "settled", "seen", "Edits", "Time", "read by"):
        assert word not in page.text, word
    assert len(Page(report_html(outcome(spec, corrected=False), REVIEW, MADE)).pictures) == 1 + len(PLACES)


def test_an_interval_is_called_validated_only_where_it_was(spec: BundleSpec) -> None:
    assert spec.reliability is not None
    fitted = spec.model_copy(update={"reliability": spec.reliability.model_copy(update={"interval_coverage": {}})})
    review = ReviewSummary()
    text = Page(report_html(outcome(fitted), review, MADE)).text
    assert "90 % interval 0.90\u20131.50 mL (not validated" in text
    none = spec.model_copy(update={"volume_interval": None, "reliability": None})
    text = Page(report_html(outcome(none), review, MADE)).text
    assert "interval" not in text and "validated" not in text
    assert "5\u201395 % range 1.02\u20131.38 mL (how often this range holds the true volume was not measured" in text


def test_a_correction_outside_the_interval_is_said(spec: BundleSpec) -> None:
    large = outcome(spec)
    assert large.correction is not None
    large.correction[:, 10:] = 1
    text = Page(report_html(large, ReviewSummary(), MADE)).text
    assert "31 of 34 validation cases). This volume lies outside it" in text
    assert "30 of 34 validation cases). This volume" not in text


def test_unknown_spacing_is_never_called_millimetres(spec: BundleSpec) -> None:
    places = (replace(PLACES[0], stake=87.0, unit="voxels"),)
    text = Page(report_html(outcome(spec, spacing_known=False), replace(REVIEW, places=places), MADE)).text
    assert "Anterior 1200 voxels" in text and "87 voxels at stake" in text and "20 voxels wide" in text
    assert not re.search(r"\bmm\b|\bmL\b", text)


def test_a_label_that_is_not_there_has_no_long_axis(spec: BundleSpec) -> None:
    empty = outcome(spec)
    assert empty.correction is not None
    empty.correction[empty.correction == 2] = 0
    assert "Posterior 0.000 mL 0.32 mL 0.32\u20130.32 mL 0.32\u20130.32 mL \u2013" in Page(
        report_html(empty, ReviewSummary(), MADE)
    ).text  # fmt: skip


def test_locked_voxels_are_said(spec: BundleSpec, page: Page) -> None:
    assert "Locked" not in page.text
    made = {**MADE, "request": {**MADE["request"], "locks": {"method": "guidance", "voxels": 321, "digest": "ab"}}}
    assert "Locked 321 voxels, by guidance" in Page(report_html(outcome(spec), ReviewSummary(), made)).text


def test_a_place_outside_the_image_is_refused(spec: BundleSpec) -> None:
    outside = ReviewSummary((replace(PLACES[0], centre=(9, 24, 8)),))
    with pytest.raises(InputError, match=r"\(9, 24, 8\), outside the image"):
        report_html(outcome(spec), outside, MADE)
