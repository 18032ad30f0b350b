"""How long and how much, said before a run."""

from __future__ import annotations

import pytest

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.session.estimate import again_sentence, memory_bytes, seconds_again
from tests.tiny import blob_volume, make_tiny_bundle


def test_the_time_goes_by_samples_and_by_what_their_method_costs():
    assert seconds_again(16, 16, 20.0, None, None) == pytest.approx(20)
    assert seconds_again(8, 16, 20.0, "guidance", None) == pytest.approx(21)
    assert seconds_again(16, 16, 50.0, "guidance", "guidance") == pytest.approx(50)
    assert seconds_again(16, 16, 42.0, "replacement", "guidance") == pytest.approx(22)
    assert seconds_again(16, 16, 0.0, "guidance", None) is None
    assert seconds_again(16, 0, 3.0, "guidance", None) is None


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
