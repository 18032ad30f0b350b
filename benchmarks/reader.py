"""How much work is it to reach Dice 0.95 with the truth: a simulation, never a study.

    python benchmarks/reader.py --data DIR                          # every validation case
    python benchmarks/reader.py --data DIR --cases 2 --samples 4 --name quick

Nobody read anything here. A program that knows the truth plays the reader, so it never errs, never tires, sees every
wrong voxel and takes the best of what it is offered. Real readers do none of that: the numbers compare ways to work,
they promise no time saved. The rules, the same for all:

- An *interaction* is one of these. A *stroke*: a disc of ``RADIUS`` mm on one slice of the bundle's start plane, under
  which every wrong voxel gets its true label; no stroke makes a voxel wrong. Taking an *alternative* at a place.
  *Pressing* "Sample again". *Accepting* or discarding what it proposes.
- A *move* is a slice brought to the screen, by paging or by jumping to a place. Moves are counted apart from
  interactions; the summary gives both, and their sum.
- On a slice the reader puts the disc where it sets most voxels right, as long as these are at least a quarter of the
  disc, then pages on. Slices are paged in order, from the first to the last that holds the structure in truth or
  correction. If Dice ``TARGET`` (mean over foreground classes) is then not reached, again with an eighth of the disc,
  then with any wrong voxel, page after page of the volume. The reader stops as soon as ``TARGET`` is reached.
- A reader with *places* first goes through the list (``session.regions.find_places``) in its order, pages through the
  slices of each place and paints there by the same rule, counting only wrong voxels of the place; then settles it and
  goes on to the next, after the last to the slices as above.
- A reader with *alternatives* first looks, at each place, at those of ``session.hypotheses.alternatives`` and takes the
  one that leaves fewest wrong voxels there, if that sets right, on balance, as many voxels as a stroke must.
- The reader who *samples again* does so after 15 and after 40 interactions. What differs from the consensus that was
  started from is locked ("what I changed" in the window), the bundle's own method draws as many samples with the same
  seed, and their consensus is proposed. Two interactions: to press, and to accept or discard. The proposal is accepted
  if its Dice is higher, which a real reader, who sees what would move, can only judge by eye. After accepting, the new
  samples replace the old, the list of places is made anew (settled ones stay settled), and the reader begins again.
- After ``CAP`` interactions the reader gives up: such a case counts as ``CAP`` interactions in every statistic, and
  ``reached`` says how many did not end so.

mL changed is the size of all voxels that any interaction changed; a voxel that changes twice counts twice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reader_summary import CURVE, READERS, plot, record, sentence, summarise, write  # beside this file
from scipy import ndimage

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SPLIT = HERE / "splits" / "hippocampus.json"
RADIUS, TARGET, CAP = 2.0, 0.95, 300  # mm, Dice, interactions
Values = NDArray[np.uint8]  # (x, y, z) label values


@dataclass(frozen=True)
class Rules:
    """What the readers are held to; lengths in mm, ``worth`` in parts of the disc."""

    radius: float = RADIUS
    target: float = TARGET
    worth: tuple[float, ...] = (1 / 4, 1 / 8, 0.0)
    cap: int = CAP
    press: tuple[int, ...] = (15, 40)


@dataclass
class Hand:
    """A correction in the reader's hands: what is wrong in it, and what was done so far."""

    volume: Any
    spec: Any
    truth: Values
    mask: Values
    rules: Rules = Rules()
    strokes: int = 0
    taken: int = 0
    presses: int = 0
    accepted: int = 0
    moves: int = 0
    changed: int = 0  # voxels
    interactions: int = 0
    curve: list[float] = field(default_factory=list)  # Dice after so many interactions
    gains: list[float] = field(default_factory=list)  # in Dice, that each proposal of sampling again would bring

    def __post_init__(self) -> None:
        from napari_pgrd.session.display import PLANES, Display

        display, axis = Display.of(self.volume), PLANES[self.spec.scope.start_plane][0]
        self.slices = lambda data: np.moveaxis(display.show(data), axis, 0)  # a view, so what is painted stays
        self.mask = np.array(self.mask, np.uint8, order="C")
        a, b = np.delete(np.array(display.scale), axis)
        rows, columns = (np.arange(-int(self.rules.radius / s), int(self.rules.radius / s) + 1) * s for s in (a, b))
        self.disc = (rows[:, None] ** 2 + columns**2 <= self.rules.radius**2 * (1 + 1e-9)).astype(np.int32)
        self.curve.append(self.dice(self.mask))

    def least(self, share: float) -> int:
        """How many voxels an interaction must set right to be worth it."""
        return max(1, math.ceil(share * int(self.disc.sum())))

    def dice(self, mask: Values) -> float:
        """Mean over foreground classes."""
        from napari_pgrd.evaluate import metrics

        index = np.zeros(256, np.uint8)
        index[self.spec.values] = np.arange(len(self.spec.labels))
        return float(np.mean(metrics.dice(index[mask], index[self.truth], len(self.spec.labels))))

    @property
    def over(self) -> bool:
        """Whether the target is reached, or the reader gives up."""
        return self.curve[-1] >= self.rules.target or self.interactions >= self.rules.cap

    def count(self, voxels: int, interactions: int = 1) -> None:
        """Book interactions after the last of which the mask is as it now is."""
        self.changed += voxels
        self.interactions += interactions
        self.curve += [self.curve[-1]] * (interactions - 1) + [self.dice(self.mask)]

    def best(self, index: int, where: NDArray[np.bool_] | None) -> tuple[int, tuple[int, int]]:
        """How many wrong voxels on a slice (of those asked for) the best disc covers, and its middle."""
        wrong = self.slices(self.mask)[index] != self.slices(self.truth)[index]
        if where is not None:
            wrong = wrong & self.slices(where)[index]
        if not wrong.any():
            return 0, (0, 0)
        covered = ndimage.correlate(wrong.astype(np.int32), self.disc, mode="constant")
        at = np.unravel_index(int(covered.argmax()), covered.shape)
        return int(covered[at]), (int(at[0]), int(at[1]))

    def stroke(self, index: int, middle: tuple[int, int]) -> None:
        """Set right what is wrong under a disc."""
        plane, right = self.slices(self.mask)[index], self.slices(self.truth)[index]
        under = np.zeros(plane.shape, bool)
        under[middle] = True
        under = ndimage.binary_dilation(under, self.disc.astype(bool)) & (plane != right)
        plane[under] = right[under]
        self.strokes += 1
        self.count(int(under.sum()))

    def pages(self) -> Sequence[int]:
        """Slices from the first to the last that holds the structure in truth or correction."""
        held = np.flatnonzero(((self.slices(self.mask) > 0) | (self.slices(self.truth) > 0)).any((1, 2)))
        return range(held[0], held[-1] + 1) if held.size else ()


class Desk:
    """The samples that stand, their places, and what the correction started from."""

    def __init__(self, prediction: Any, hand: Hand) -> None:
        from napari_pgrd.session.places import Places

        self.places, self.hand, self.start = Places(), hand, hand.mask.copy()
        self.take(prediction)

    def take(self, prediction: Any) -> None:
        """Samples replace those before; places that were settled stay so."""
        from napari_pgrd.session.regions import find_places

        self.prediction = prediction
        self.places.show(find_places(prediction, self.hand.volume, self.hand.spec.labels))

    def open(self) -> int | None:
        """The first place that is not settled."""
        from napari_pgrd.session.places import State

        states = [self.places.states[place.id] for place in self.places.items]
        return states.index(State.OPEN) if State.OPEN in states else None


def paint(hand: Hand, slices: Sequence[int], least: int, where: NDArray[np.bool_] | None = None) -> Iterator[None]:
    """Page through slices and paint on each while it is worth a stroke; yields after every one."""
    for index in slices:
        hand.moves += 1
        while (found := hand.best(index, where))[0] >= least:
            hand.stroke(index, found[1])
            yield


def visit(hand: Hand, desk: Desk, least: int, options: bool) -> Iterator[None]:
    """Go through the open places and settle them; yields after every interaction."""
    from napari_pgrd.session.hypotheses import alternatives, apply

    while (index := desk.open()) is not None:
        desk.places.go(index)
        place = desk.places.items[index]
        if options:
            now, true = place.within(hand.mask), place.within(hand.truth)
            found = alternatives(desk.prediction, place, hand.volume, hand.spec.labels, hand.mask)
            best = min(found, key=lambda a: int((a.values != true).sum()), default=None)
            if best is not None and int((now != true).sum()) - int((best.values != true).sum()) >= least:
                flat, values = apply(best, hand.mask)
                hand.mask.reshape(-1)[flat] = values
                hand.taken += 1
                hand.count(len(flat))
                yield
        where = np.zeros(hand.mask.shape, bool)
        where.reshape(-1)[place.flat(where.shape)] = True
        pages = np.flatnonzero(hand.slices(where).any((1, 2)))
        yield from paint(hand, pages.tolist(), least, where)
        desk.places.settle(desk.start, hand.mask)


def plan(hand: Hand, desk: Desk | None, options: bool) -> Iterator[None]:
    """What a reader does, interaction by interaction, until nothing is wrong."""
    if desk is not None:
        yield from visit(hand, desk, hand.least(hand.rules.worth[0]), options)
    for share in hand.rules.worth:
        yield from paint(hand, hand.pages(), hand.least(share))


def read(
    hand: Hand,
    prediction: Any | None = None,
    options: bool = False,
    again: Callable[[NDArray[np.bool_], Values], Any] | None = None,
) -> Hand:
    """Play a reader to the end.

    ``prediction`` gives places, ``options`` alternatives at them; ``again`` draws samples that keep the voxels of a
    mask as the correction has them.
    """
    desk = None if prediction is None else Desk(prediction, hand)
    presses = list(hand.rules.press) if desk is not None and again is not None else []
    doing, nothing = plan(hand, desk, options), object()
    while not hand.over and next(doing, nothing) is not nothing:
        if not presses or hand.over or hand.interactions < presses[0]:
            continue
        assert desk is not None and again is not None
        presses.pop(0)
        locked = hand.mask != desk.start
        proposed = again(locked, hand.mask)
        values = hand.spec.values[proposed.consensus]
        hand.presses += 1
        hand.gains.append(hand.dice(values) - hand.curve[-1])
        if hand.gains[-1] <= 0:
            hand.count(0, 2)
            continue
        moved = int((values != hand.mask).sum())
        hand.mask[...] = values
        hand.accepted += 1
        hand.count(moved, 2)
        desk.take(proposed)
        doing = plan(hand, desk, options)
    return hand


def main() -> None:
    """Parse, run, write JSON after every case, and the picture at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/")
    parser.add_argument("--bundle", default="hippocampus-mri")
    parser.add_argument("--cases", type=int, default=0, help="first n validation cases; 0 takes all")
    parser.add_argument("--samples", type=int, default=None, help="the bundle's, if not given")
    parser.add_argument("--steps", type=int, default=None, help="the bundle's, if not given")
    parser.add_argument("--name", default="", help="suffix of the result files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--resume", action="store_true", help="keep the cases that the result file holds already")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"reader{'_' + args.name if args.name else ''}.json"
    result = measure(args, path)
    plot(result, path.with_suffix(".png"))
    print(result["result"])


def measure(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Every case, every reader; the file at ``path`` holds what is done so far."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.engine.request import Request
    from napari_pgrd.io.cases import choose, find_cases, load_pair, read_split
    from napari_pgrd.io.provenance import versions

    cases = choose(find_cases(args.data), read_split(SPLIT)["validation"][: args.cases or None])
    bundle, rules = Bundle.load(args.bundle), Rules()
    index = {label.value: k for k, label in enumerate(bundle.spec.labels)}
    asked = Request(args.samples, args.steps).resolved(bundle.spec)
    shown = ["DIR" if i and sys.argv[i] in ("--data", "--out") else a for i, a in enumerate(sys.argv[1:])]
    result = {
        "question": "how much work it is to reach a Dice with the truth: a simulation, never a study",
        "command": " ".join(["python benchmarks/reader.py", *shown]),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": versions(),
        "bundle": bundle.spec.name,
        "bundle_sha256": bundle.digest,
        "request": {"samples": asked.samples, "steps": asked.steps, "seed": asked.seed},
        "lock_method": bundle.spec.sampling.lock_method,
        "device": resolve("auto").type,
        "rules": json.loads(json.dumps(asdict(rules))),
        "rules_in_words": " ".join((__doc__ or "").split("\n\n", 2)[2].split()),
        "readers": READERS,
    }
    same = ("bundle_sha256", "request", "lock_method", "rules")
    rows: list[dict[str, Any]] = []
    if args.resume and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if any(before[key] != result[key] for key in same):
            sys.exit(f"{path.name} was made with another bundle, request or rules. Run without --resume.")
        rows = [r for r in before["rows"] if r["case"] in {case.name for case in cases}]
    for n, case in enumerate(cases, 1):
        if case.name not in {r["case"] for r in rows}:
            rows += simulate(case.name, *load_pair(case, index), bundle, asked, rules)
            print(f"{n} of {len(cases)} cases", file=sys.stderr, flush=True)
        summary = summarise(rows)
        write({**result, "summary": summary, "result": sentence(summary), "rows": rows}, path)
    return {**result, "summary": summary, "result": sentence(summary), "rows": rows}


def simulate(case: str, volume: Any, truth: NDArray[Any], bundle: Any, request: Any, rules: Rules) -> list[Any]:
    """All readers on one case."""
    from napari_pgrd.engine.locks import Locks
    from napari_pgrd.engine.predict import predict

    def draw(asked: Any) -> Any:
        *_, last = predict(volume, bundle, asked)
        return last.prediction

    def again(locked: NDArray[np.bool_], mask: Values) -> Any:
        index = np.zeros(256, np.uint8)
        index[bundle.spec.values] = np.arange(len(bundle.spec.labels))
        return draw(replace(request, locks=Locks(locked, index[mask]))) if locked.any() else p

    clock = time.perf_counter()
    p, values, rows = draw(request), bundle.spec.values, []
    drawn = time.perf_counter() - clock
    for reader in READERS:
        start = p.prior.argmax(0) if reader == "prior" else p.consensus
        hand, clock = Hand(volume, bundle.spec, values[truth], values[start], rules), time.perf_counter()
        if reader in ("prior", "consensus"):
            read(hand)
        else:
            read(hand, p, reader != "places", again if reader == "again" else None)
        seconds = {"seconds_sampling": round(drawn, 2), "seconds_reading": round(time.perf_counter() - clock, 2)}
        rows.append({"case": case, "reader": reader, **record(hand), **seconds})
        print(json.dumps({k: v for k, v in rows[-1].items() if k != CURVE}), file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    main()
