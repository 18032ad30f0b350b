"""How long and how much, said before a run."""

from __future__ import annotations

import pytest

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.session.estimate import DrawingTime, again_sentence, memory_bytes, seconds_again
from tests.tiny import blob_volume, make_tiny_bundle


def test_the_time_goes_by_samples_and_by_what_their_method_costs():
    assert seconds_again(16, 16, 20.0, None, None) == pytest.approx(20)
    assert seconds_again(8, 16, 20.0, "guidance", None) == pytest.approx(21)
    assert seconds_again(16, 16, 50.0, "guidance", "guidance") == pytest.approx(50)
    assert seconds_again(16, 16, 42.0, "replacement", "guidance") == pytest.approx(22)
    assert seconds_again(16, 16, 0.0, "guidance", None) is None
    assert seconds_again(16, 0, 3.0, "guidance", None) is None


def updates(*, load: float, prior: float, sample: float, samples: int, steps: int = 8):
    """Kinds and moments of a run that begins at 100, as the window hears of them, and when it ends."""
    now = 100 + load + prior
    heard = [("prior", now)]
    for _ in range(samples):
        heard += [("step", now + sample * (i + 1) / steps) for i in range(steps)]
        now += sample
        heard.append(("sample", now))
    return [*heard, ("done", now)], now


def drawn_in(before: float = 0.0, **run: float) -> float:
    heard, end = updates(**run)
    drawing = DrawingTime(before)
    for kind, now in heard:
        drawing.hear(kind, now)
    return drawing.seconds(end)


@pytest.mark.parametrize("samples", [1, 4, 16])
def test_a_first_run_forecasts_the_second(samples):
    first = drawn_in(load=9.0, prior=2.0, sample=0.9, samples=samples)
    second = 0.2 + 0.9 * samples  # from the click, nothing left to load
    forecast = seconds_again(samples, samples, first, None, None)
    assert 1 / 1.5 < forecast / second < 1.5
    more = drawn_in(first, load=0.0, prior=0.2, sample=0.9, samples=3)
    assert seconds_again(8, samples + 3, more, None, None) == pytest.approx(8 * 0.9)


def test_a_run_that_ends_before_the_prior_has_drawn_nothing():
    assert DrawingTime(5.0).seconds(1234.0) == 5.0
    started_again = DrawingTime()  # memory ran out: nothing is drawn twice, and what was drawn counts
    started_again.hear("prior", 10.0)
    started_again.hear("note", 15.0)
    started_again.hear("prior", 16.0)
    assert started_again.seconds(30.0) == 20.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s, "), (7.4, "about 7 s, "), (31.0, "about 30 s, "), (89.0, "about 90 s, "),
     (100.0, "about 2 min, "), (1000.0, "about 17 min, "), (None, "")],
)  # fmt: skip
def test_the_sentence_promises_no_more_than_it_can(seconds, words):
    assert again_sentence(16, seconds, 0.86e9) == f"Draws 16 samples again: {words}about 0.9 GB of memory."
    assert again_sentence(1, seconds, 2e9).startswith("Draws 1 sample again: ")


def test_guidance_needs_more_memory(tmp_path):
    spec = read_spec(make_tiny_bundle(tmp_path / "tiny"))
    volume, _ = blob_volume((64, 64, 64))
    plain, guided = (memory_bytes(volume, spec, None, 16, method) for method in (None, "guidance"))
    assert plain == memory_bytes(volume, spec, None, 16, "replacement")
    assert guided > plain
