"""One case beside its truth: against numbers recomputed with other libraries, and with several raters by averaging."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from sklearn.metrics import log_loss, roc_auc_score

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.spec import BundleSpec, read_spec
from napari_pgrd.evaluate.case import among, compare_case
from napari_pgrd.evaluate.definitions import DEFINITIONS
from napari_pgrd.evaluate.raters import agreement
from napari_pgrd.evaluate.reliability import Reliability
from tests.test_architecture import modules_after
from tests.tiny import make_tiny_bundle

SHAPE = (14, 12, 10)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return read_spec(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def truths() -> np.ndarray:
    """Three raters who part at one border, and a fourth who marked nothing."""
    out = np.zeros((4, *SHAPE), int)
    for r in range(3):
        out[r, 2 : 5 + r % 2, 2:6, 1:4], out[r, 2:5, 2:6, 4:6] = 1, 2
    return out


@pytest.fixture
def prediction(truths: np.ndarray) -> Prediction:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 1, (6, 3, *SHAPE)) + 2.5 * np.eye(3)[truths[0]].transpose(3, 0, 1, 2)
    logits[:, 0, 9:] += 9  # far from the truth nothing is found, so that the region is not everything
    soft = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    masks = tuple(m.astype(np.uint8) for m in logits.argmax(1))
    p = soft.mean(0).astype(np.float32)
    votes = np.stack([sum(m == k for m in masks) for k in range(3)]).astype(np.uint16)
    return Prediction(p, votes, masks, p, p * 6, np.zeros(SHAPE, np.float32))


def test_one_rater_by_other_libraries(prediction: Prediction, truths: np.ndarray, spec: BundleSpec) -> None:
    truth = truths[1]  # not the one the prediction was made from, so that the consensus errs
    found = compare_case(prediction, truth[None], spec)
    flat = prediction.probability.reshape(3, -1).T.astype(float)
    assert found.numbers["nll"] == pytest.approx(log_loss(truth.ravel(), flat / flat.sum(1, keepdims=True)), rel=1e-5)
    assert list(found.dice) == ["anterior", "posterior"]
    a, b = prediction.consensus == 1, truth == 1
    assert found.dice["anterior"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert found.numbers["dice"] == pytest.approx(np.mean(list(found.dice.values())))
    assert (found.raters, found.samples) == (1, 6)
    assert found.numbers["rater_diversity"] is None and found.numbers["empty_raters"] == 0
    where = binary_dilation((truth > 0) | (prediction.consensus > 0), iterations=3)
    assert found.reliability_roi.count.sum() == where.sum() < found.reliability.count.sum() == truth.size
    wrong = prediction.consensus != truth
    expected = roc_auc_score(wrong[where], prediction.entropy[where])
    assert found.numbers["auroc_entropy_error"] == pytest.approx(expected, abs=1e-6)


def test_several_raters_are_averaged(prediction: Prediction, truths: np.ndarray, spec: BundleSpec) -> None:
    found = compare_case(prediction, truths, spec)
    alone = [compare_case(prediction, t[None], spec) for t in truths]
    for key in ("nll", "brier", "ece", "adaptive_ece", "sample_dice", "volume_coverage"):
        assert found.numbers[key] == pytest.approx(np.mean([one.numbers[key] for one in alone]))
    assert found.numbers["empty_raters"] == 0.25
    voted = np.where((truths > 0).sum(0) >= 2, truths[:3].max(0), 0)  # rater 1 alone reaches to row 5
    voted[5] = 0
    assert found.dice == compare_case(prediction, voted[None], spec).dice
    assert found.reliability.count.sum() == 4 * truths[0].size


def test_a_perfect_sure_prediction(spec: BundleSpec, truths: np.ndarray) -> None:
    truth = truths[0]
    p = np.eye(3, dtype=np.float32)[truth].transpose(3, 0, 1, 2)
    sure = Prediction(p, p.astype(np.uint16), (truth.astype(np.uint8),) * 2, p, p, np.zeros(SHAPE, np.float32))
    numbers = compare_case(sure, truth[None], spec).numbers
    for key, value in {"dice": 1, "nll": 0, "brier": 0, "ece": 0, "ged2": 0, "hm_iou": 1, "diversity": 0}.items():
        assert numbers[key] == pytest.approx(value, abs=1e-9)
    assert numbers["auroc_entropy_error"] is None and numbers["spearman_entropy_error"] is None
    assert numbers["ause"] is None


def test_every_number_is_defined(prediction: Prediction, truths: np.ndarray, spec: BundleSpec) -> None:
    assert set(compare_case(prediction, truths, spec).numbers) <= set(DEFINITIONS)


def test_what_cannot_be_compared_is_a_sentence(prediction: Prediction, truths: np.ndarray, spec: BundleSpec) -> None:
    with pytest.raises(InputError, match="on the grid of the image"):
        compare_case(prediction, truths[:, 1:], spec)
    with pytest.raises(InputError, match="on the grid of the image"):
        compare_case(prediction, truths[0], spec)
    with pytest.raises(InputError, match="classes 0 to 3; tiny knows 0 to 2"):
        compare_case(prediction, np.where(truths == 2, 3, truths), spec)
    with pytest.raises(InputError, match="Draw samples first"):
        compare_case(replace(prediction, masks=()), truths, spec)


def test_bins_add_up() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(1 / 3, 1, 900)
    right = rng.random(900) < confidence**2
    whole = Reliability.of(confidence, right)
    parts = Reliability.pooled(Reliability.of(confidence[i::3], right[i::3]) for i in range(3))
    assert np.allclose(whole.right, parts.right) and whole.ece == pytest.approx(parts.ece)
    assert Reliability.read(whole.stored()).ece == whole.ece
    assert np.isnan(whole.accuracy[:5]).all() and not np.isnan(whole.accuracy[5:]).any()
    edges = np.linspace(0, 1, 16)
    for i in range(5, 15):
        inside = (confidence > edges[i]) & (confidence <= edges[i + 1])
        assert whole.count[i] == inside.sum()
        assert whole.accuracy[i] == pytest.approx(right[inside].mean())
        assert whole.mean_confidence[i] == pytest.approx(confidence[inside].mean())


def test_samples_of_slices_drawn_alone_are_compared_slice_by_slice() -> None:
    rng = np.random.default_rng(0)
    masks, truths = rng.integers(0, 2, (3, 6, 5, 4)), rng.integers(0, 2, (2, 6, 5, 4))
    truths[..., 1] = 0  # nobody marked this one, so it is left out
    masks[:, ..., 3], truths[1, ..., 3] = 0, 0
    alone = [agreement(masks[..., z], truths[..., z]) for z in (0, 2, 3)]
    found, whole = among(masks, truths, 2, dims=2), among(masks, truths, 2)
    for key in ("ged2", "hm_iou", "diversity", "rater_diversity", "empty_samples", "empty_raters"):
        assert found[key] == pytest.approx(np.mean([getattr(one, key) for one in alone]))
        assert found[key] != whole[key]
    assert found["empty_raters"] == pytest.approx(1 / 6) and found["empty_samples"] == pytest.approx(1 / 3)
    assert found["sample_dice"] == whole["sample_dice"]
    assert among(masks, truths * 0, 2, dims=2)["ged2"] is not None, "an empty truth is a truth"


def test_it_needs_no_torch() -> None:
    assert not modules_after("import napari_pgrd.evaluate.case") & {"torch", "monai"}
