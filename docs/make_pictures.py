"""Make the pictures in ``docs/pictures`` from the running program.

xvfb-run -a -s "-screen 0 1280x800x24" python docs/make_pictures.py
xvfb-run -a -s "-screen 0 1280x800x24" python docs/make_pictures.py stages    # of docs/walkthrough.md
xvfb-run -a -s "-screen 0 1280x800x24" python docs/make_pictures.py lung      # a nodule, four radiologists, 16 samples

A folder after ``lung`` is that of the bundle, where it is not the embedded one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OWN = tempfile.mkdtemp(prefix="pgrd-pictures-")  # no review of the user's is offered, no setting of theirs shown
os.environ["NAPARI_CONFIG"] = f"{OWN}/settings.yaml"  # heard when napari is imported

import napari  # noqa: E402
import numpy as np  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_pgrd.viewer.launch import open_window  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
STEPS, SAMPLES = "8", "16"  # what a reader would draw
LUNG = "lung-nodule-ct"


def live(seconds: float) -> None:
    """Let the window draw."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    """Open the example, sample it, and take a picture at each stage."""
    PICTURES.mkdir(exist_ok=True)
    os.environ["NAPARI_PGRD_STATE"] = OWN
    viewer, dock = open_window()
    window = viewer.window._qt_window
    window.resize(1280, 800)

    def picture(name: str) -> None:
        live(1.0)
        window.grab().save(str(PICTURES / f"{name}.png"))

    live(1.0)
    dock.desk.open_example()
    picture("opened")
    dock.desk.sample()
    taken = False
    while dock.desk.worker is not None or dock.desk.layers.turns.waiting:
        live(0.1)
        if dock.desk.state.drawn >= 4 and not taken and dock.desk.worker is not None:
            picture("sampling")
            taken = True
    while not dock.places.places.items:
        live(0.1)
    picture("window")
    dock.places.next()
    while len(dock.places.options) < 2 and dock.places.places.index + 1 < len(dock.places.places.items):
        dock.places.next()
    picture("place")
    viewer.reset_view()
    dock.views.heat("entropy")
    picture("entropy")
    dock.views.heat("off")
    dock.corrections.start("consensus")
    dock.tabs.setCurrentIndex(2)
    picture("correction")
    dock.tools.draw_outline()
    picture("outline")
    viewer.close()


def lung(bundle: str = "") -> None:
    """Open a nodule, sample it, and show the samples beside what four radiologists marked."""
    os.environ["NAPARI_PGRD_STATE"] = OWN
    viewer, dock = open_window()
    window = viewer.window._qt_window
    window.resize(1280, 800)
    live(1.0)
    if bundle:
        dock.desk.choose_bundle(bundle)
    viewer.open_sample("napari-pgrd", "lung_a")
    live(1.0)
    if dock.desk.spec is None or dock.desk.spec.name != LUNG or dock.desk.state.unfit:
        raise SystemExit(f"{LUNG} is not there: {dock.desk.state.sentence}")
    dock.desk.state.samples = int(SAMPLES)
    dock.desk.sample()
    while dock.desk.worker is not None or dock.desk.layers.turns.waiting:
        live(0.1)
    while dock.places.worker is not None:
        live(0.1)
    marked = sum(np.asarray(layer.data) > 0 for layer in dock.truths.opinions())
    viewer.dims.set_current_step(0, int(marked.sum((1, 2)).argmax()))  # the slice with most to compare
    dock.views.outlines()
    dock.tiles.toggle()
    live(1.0)
    viewer.reset_view()
    live(1.5)
    window.grab().save(str(PICTURES / "lung.png"))
    viewer.close()


def stages() -> None:
    """A reader's whole job as the end-to-end test does it, through a kill in its middle, a picture of each stage."""
    sys.path.insert(0, str(ROOT))
    from tests.e2e.reader_job import Patience, photographer, second_half

    pictures = PICTURES / "stages"
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgrd-pictures-") as folder:
        os.environ["NAPARI_PGRD_STATE"] = f"{folder}/state"
        command = [sys.executable, "-m", "tests.e2e.reader_job", folder, str(pictures), STEPS, SAMPLES]
        process = subprocess.Popen(command, cwd=ROOT)
        while not (Path(folder) / "ready").exists():
            if process.poll() is not None:
                raise SystemExit("the first half failed")
            time.sleep(0.2)
        process.kill()
        process.wait()
        viewer = napari.Viewer()
        viewer.window._qt_window.resize(1280, 800)
        live(1.0)
        kept = np.load(f"{folder}/correction.npy")
        second_half(viewer, Patience(), photographer(viewer, pictures), kept, Path(folder) / "export")
        viewer.close()


if __name__ == "__main__":
    what, *rest = [*sys.argv[1:], ""]
    {"stages": stages, "lung": lambda: lung(rest[0] if rest else "")}.get(what, main)()
