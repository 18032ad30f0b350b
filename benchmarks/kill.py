"""Does a crash lose strokes: kill -9 of a process that edits, many times, and what the next start then finds.

    python benchmarks/kill.py --kills 200

Each process is a real one (forked, so that napari is imported once) with a real napari Labels layer, edited at random
without a window and as fast as it goes: brush drags, fills, polygons, operations, undo, redo. It is watched, logged and
autosaved by the program's own code, now and then saved as a review too. Before an edit is logged the process tells
through a pipe what the mask will be ("trying"), and afterwards that it is safe ("done"). It is killed at a random
moment; the next start must offer its review, and the mask in it must be the last that was safe or the one under way.
The process after it resumes that review; after every tenth kill it is ended, and a new one begun. POSIX only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.provenance import versions
from napari_pgrd.session.autosave import Autosave, unfinished
from napari_pgrd.session.correction import Correction, replay
from napari_pgrd.session.display import Display
from napari_pgrd.session.editlog import EDITS
from napari_pgrd.session.review import ImageMark, Review, load, save

RESULTS = Path(__file__).resolve().parent / "results"
SHAPE = (24, 32, 20)
AFFINE = np.array([[-1.0, 0, 0, 20], [0, 1.0, 0, -30], [0, 0, 1.5, 5], [0, 0, 0, 1]])  # the display flips an axis
FROM_THE_START = 0.2  # share of kills that come within START_S of the fork, while a review is begun or resumed
START_S = 0.3
MOST_LINES, THEN_S = 30, 0.05  # the other kills come after so many things said, and up to so much later
NEW_REVIEW_EVERY = 10
GIVE_UP_S = 120  # a process that nobody kills ends itself


def main() -> int:
    """Kill, look, count; the exit status is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "kill.json")
    args = parser.parse_args()
    rng, counts, failures = np.random.default_rng(args.seed), Counter[str](), []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgrd-kill-") as folder:
        witness = Witness(Path(folder))
        warm_up()
        for i in range(args.kills):
            early = rng.random() < FROM_THE_START
            lines = 0 if early else int(rng.integers(1, MOST_LINES))
            said = run_and_kill(Path(folder), args.seed + i, lines, rng.uniform(0, START_S if early else THEN_S))
            failures += [f"kill {i}: {text}" for text in witness.judge(said, counts)]
            if (i + 1) % NEW_REVIEW_EVERY == 0:
                witness.end(counts)
    command = f"python benchmarks/kill.py --kills {args.kills} --seed {args.seed}"
    machine = {"cores": os.cpu_count(), "system": os.uname().sysname}
    result = {"command": command, "machine": machine, "seconds": round(time.monotonic() - began, 1)}
    result |= {"kills": args.kills, "failures": failures, **dict(sorted(counts.items())), "versions": versions()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "versions"}, indent=1))
    return 1 if failures else 0


# ---- the process that is killed


def run_and_kill(folder: Path, seed: int, lines: int, delay: float) -> list[list[str]]:
    """Fork an editing process, hear so many lines, kill it so many seconds later; returns all that it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(GIVE_UP_S)
        try:
            edit(folder, np.random.default_rng(seed), lambda *words: os.write(writer, f"{' '.join(words)}\n".encode()))
        except BaseException as error:
            os.write(writer, f"failed {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.close(writer)
    heard = b""
    while heard.count(b"\n") < lines and (more := os.read(reader, 4096)):
        heard += more
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(reader, "rb") as stream:
        return [line.split() for line in (heard + stream.read()).decode().splitlines()]


def warm_up() -> None:
    """Let napari do once what it does at the first layer, before the processes are forked."""
    layer = Labels(np.zeros(SHAPE, np.uint8))
    layer.paint((1, 5, 5), 1)
    layer.undo()


def edit(folder: Path, rng: np.random.Generator, say: Callable[..., object]) -> None:
    """Resume what was left or begin a review, then edit for ever."""
    volume = Volume(np.zeros((1, *SHAPE), np.float32), AFFINE)
    left = unfinished(folder / "running")
    if left:
        autosave = Autosave.resume(left[0].folder)
    else:
        autosave = Autosave.begin(Review(ImageMark.of(volume), "none", "0" * 64), folder / "running")
    corrections = autosave.review.corrections
    correction = corrections[-1] if corrections else autosave.start_correction(ball())
    display = Display.of(volume)
    layer = layer_with_history(correction, display)
    watch(layer, correction, display, say)
    say("ready", str(len(left)), digest(correction.mask))
    for step in range(int(rng.integers(0, 24)), sys.maxsize):
        random_edit(layer, correction, rng)
        if step % 6 == 5:
            autosave.update(view={"plane": "axial", "slice": step}, places={"1": "accepted"})
        if step % 24 == 10:
            autosave.update(prediction=random_prediction(rng))
        if step % 12 == 8:
            review = replace(autosave.review, prediction=None)
            say("saving", digest(correction.mask))
            save(folder / "saved.pgrd", review)
            say("saved", digest(correction.mask))


def layer_with_history(correction: Correction, display: Display) -> Labels:
    """A layer in which undo reaches as far back as before the crash."""
    masks = correction.history()
    layer = Labels(np.ascontiguousarray(display.show(next(masks))))
    for mask in masks:
        where = np.nonzero(display.show(mask) != layer.data)
        layer.data_setitem(where, display.show(mask)[where])
    for _ in correction.undone:
        layer.undo()
    return layer


def watch(layer: Labels, correction: Correction, display: Display, say: Callable[..., object]) -> None:
    """What the window does to log a layer, and to tell of it."""

    def look(new: bool = False) -> None:
        array = display.hide(np.asarray(layer.data))
        say("trying", digest(array))
        entry = correction.observe(array, new)
        if entry is not None:
            say("done", digest(array), entry.kind)

    layer.events.paint.connect(lambda event: look(new=True))
    layer.events.labels_update.connect(lambda event: layer._block_history or look())
    layer.events.set_data.connect(lambda event: layer._block_history or look())


def random_edit(layer: Labels, correction: Correction, rng: np.random.Generator) -> None:
    """One thing a reader does."""
    at = rng.integers(0, layer.data.shape)
    label = int(rng.integers(0, 3))
    layer.brush_size = int(rng.integers(1, 8))
    layer.preserve_labels = bool(rng.random() < 0.3)
    layer.selected_label = max(label, 1)
    kind = rng.choice(["drag", "fill", "polygon", "operation", "undo", "redo"], p=[0.35, 0.05, 0.1, 0.15, 0.2, 0.15])
    if kind == "drag":
        with layer.block_history():
            for _ in range(int(rng.integers(1, 10))):
                layer.paint(tuple(at), label, refresh=True)
                at = np.clip(at + np.array([0, *rng.integers(-3, 4, 2)]), 0, np.array(layer.data.shape) - 1)
    elif kind == "fill":
        layer.fill(tuple(at), label)
    elif kind == "polygon":
        corners = rng.integers(0, layer.data.shape[1:], (5, 2))
        layer.paint_polygon(np.column_stack([np.full(5, at[0]), corners]), label)
    elif kind == "operation":
        part = tuple(slice(max(0, a - 6), a + 6) for a in at)
        where = np.nonzero(layer.data[part] == max(label, 1))
        with correction.operation("erase in a box"), layer.block_history():
            layer.data_setitem(tuple(w + s.start for w, s in zip(where, part, strict=True)), 0)
    else:
        layer.undo() if kind == "undo" else layer.redo()


def random_prediction(rng: np.random.Generator) -> Prediction:
    """Arrays of the right kind."""
    p = rng.random((3, *SHAPE), np.float32)
    masks = tuple(rng.integers(0, 3, SHAPE, np.uint8) for _ in range(2))
    votes = np.stack([sum((m == k).astype(np.uint16) for m in masks) for k in range(3)])
    return Prediction(p, votes, masks, p, 2 * p, p[0])


def ball() -> NDArray[np.uint8]:
    """A start mask of two labels."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = (grid**2).sum(0) < 0.4
    return (inside * (1 + (grid[1] > 0))).astype(np.uint8)


def digest(array: NDArray[np.uint8]) -> str:
    """Of a mask on the volume's grid."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


# ---- what the next start finds


class Witness:
    """What must be there after a kill, carried from one process to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.safe = ""  # mask of the running review, by its digest; "" before it can be edited
        self.begun = False  # whether there is a running review at all
        self.saved: set[str] = set()  # masks that saved.pgrd may hold

    def judge(self, said: list[list[str]], counts: Counter[str]) -> list[str]:
        """Compare what a killed process said with what it left; returns what is wrong."""
        wrong, trying, edits = [], "", 0
        before = self.safe
        for word, *rest in said:
            if word == "ready":
                if rest[0] != str(int(self.begun)):
                    wrong.append(f"{rest[0]} reviews were offered at the start")
                if before and rest[1] != before:
                    wrong.append("another mask was resumed")
                self.safe = rest[1]
            elif word == "trying":
                trying = "" if rest[0] == self.safe else rest[0]
            elif word == "done":
                self.safe, trying, edits = rest[0], "", edits + 1
                counts[f"edits: {rest[1]}"] += 1
            elif word == "saving":
                self.saved.add(rest[0])
            elif word == "saved":
                self.saved = {rest[0]}
                counts["reviews saved"] += 1
            else:
                wrong.append(" ".join([word, *rest]))
        wrong += self._left(trying, counts) + self._saved()
        counts["killed before the first edit" if not edits else "killed while editing"] += 1
        counts["edits acknowledged"] += edits
        return wrong

    def _left(self, trying: str, counts: Counter[str]) -> list[str]:
        left = unfinished(self.folder / "running")
        if not self.safe and not left:
            counts["killed before a review was begun"] += 1
            return ["the review is gone"] if self.begun else []
        if len(left) != 1:
            return [f"{len(left)} reviews are offered"]
        self.begun = True
        counts["reviews offered"] += 1
        try:
            review = load(left[0].folder)
            if not review.corrections:  # killed between the review and its correction
                return ["the correction is gone"] if self.safe else []
            log = review.corrections[-1].log
            mask = digest(replay(log))
        except PgrdError as error:
            return [f"the review left cannot be read: {error}"]
        counts["torn records dropped"] += log.dropped > 0
        if trying:
            counts["killed in the middle of an edit"] += 1
            counts["of these, the edit is missing" if mask == self.safe else "of these, the edit is there"] += 1
        if sum(entry.kind in EDITS for entry in log.entries) != left[0].edits:
            return ["the number of edits offered is wrong"]
        if self.safe and mask not in {self.safe, trying}:
            return ["more than the last stroke is missing"]
        self.safe = mask
        return []

    def _saved(self) -> list[str]:
        path = self.folder / "saved.pgrd"
        if not (path / "session.json").exists():
            return ["a saved review is gone"] if len(self.saved) == 1 else []
        try:
            mask = digest(load(path).corrections[-1].mask)
        except PgrdError as error:
            return [f"the saved review cannot be read: {error}"]
        wrong = [] if mask in self.saved else ["the saved review is neither the earlier nor the later"]
        self.saved = {mask}
        return wrong

    def end(self, counts: Counter[str]) -> None:
        """End the review that is left, as a reader who has finished."""
        for left in unfinished(self.folder / "running"):
            Autosave.resume(left.folder).finish()
            counts["reviews ended"] += 1
        self.safe, self.begun = "", False


if __name__ == "__main__":
    sys.exit(main())
