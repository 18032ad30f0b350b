"""``pgrd batch`` on real workers: complete, identical, resumed, and what it says of every case."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
from distributed import Client, Security

from napari_pgrd.cluster.address import Where
from napari_pgrd.cluster.batch import Batch
from napari_pgrd.cluster.connection import local_cluster
from napari_pgrd.cluster.results import Results
from napari_pgrd.cluster.sampling import predict_at
from napari_pgrd.cluster.summary import write_summary
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.caselist import find_images
from napari_pgrd.io.nifti import read_volume
from tests.cli.conftest import Pgrd, write
from tests.clusters import address, client, kill_workers, listening
from tests.tiny import blob_volume, make_tiny_bundle

__all__ = ["address", "client"]

QUICK = ("--steps", 2, "--samples", 3)
NAMES = ("segmentation.nii.gz", "samples.nii.gz", "probability.nii.gz", "variance.nii.gz", "entropy.nii.gz")
FILES = {*NAMES, "volumes.csv", "manifest.json"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three blob images."""
    for seed in range(3):
        write(tmp_path / "images" / f"blob_{seed}.nii.gz", blob_volume(seed=seed)[0].data[0])
    return tmp_path / "images"


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a folder of results; manifests without the moment they were written."""
    out: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name.endswith("manifest.json"):
            out[name] = {k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k != "date"}
        elif not name.startswith("."):
            out[name] = path.read_bytes()
    return out


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def run(pgrd: Pgrd, images: Path, out: Path, tiny: Path, address: str, *more: object) -> Any:
    return pgrd("batch", images, "--bundle", tiny, *QUICK, "--scheduler", address, "--out", out, *more)


def test_a_case_is_what_predict_writes_and_the_rest_is_done_whatever_one_does(
    pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path, address: str
) -> None:
    (images / "cut.nii.gz").write_bytes((images / "blob_0.nii.gz").read_bytes()[:900])
    write(images / "nan.nii.gz", np.full((20, 24, 18), np.nan, np.float32))
    out = tmp_path / "out"
    result = run(pgrd, images, out, tiny, address)
    assert result.code == 1, result.err
    assert "cut.nii.gz is" in result.err and "nan.nii.gz holds" in result.err and "Traceback" not in result.err
    assert "3 of 5 cases segmented, 2 failed" in result.out and "look at blob_" in result.out
    assert {p.name for p in out.iterdir() if not p.name.startswith(".")} == {
        "blob_0", "blob_1", "blob_2", "summary.csv", "summary.md",
    }  # fmt: skip
    alone = tmp_path / "alone"
    assert pgrd("predict", images / "blob_1.nii.gz", "--bundle", tiny, *QUICK, "--out", alone).code == 0
    assert {p.name for p in (out / "blob_1").iterdir()} == FILES
    for name in (*NAMES, "volumes.csv"):
        assert (out / "blob_1" / name).read_bytes() == (alone / name).read_bytes(), name
    rows = table(out)
    assert [row["state"] for row in rows] == ["failed", "failed", "done", "done", "done"]
    shares = [float(row["share_at_stake"]) for row in rows[2:]]
    assert shares == sorted(shares, reverse=True) and shares[-1] > 0
    page = (out / "summary.md").read_text(encoding="utf-8")
    assert "cut.nii.gz" in page and "2 failed" in page and "not a medical device" in page
    assert str(tmp_path) not in page + json.dumps(rows)


def test_finished_cases_are_kept_and_changed_ones_redone(
    pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path, address: str
) -> None:
    out = tmp_path / "out"
    assert run(pgrd, images, out, tiny, address).code == 0
    before, stamps = contents(out), {n: (out / n / "manifest.json").stat().st_mtime_ns for n in ("blob_0", "blob_1")}
    again = pgrd("batch", images, "--bundle", tiny, *QUICK, "--scheduler", "tcp://127.0.0.1:9", "--out", out)
    assert again.code == 0, again.err  # nobody listens there, and nobody is asked
    assert "3 of 3 cases segmented, 3 of them earlier" in again.out
    assert contents(out) == before
    write(images / "blob_1.nii.gz", blob_volume(seed=9)[0].data[0])
    (out / "blob_2" / "entropy.nii.gz").unlink()
    assert "1 of them earlier" in run(pgrd, images, out, tiny, address).out
    assert (out / "blob_0" / "manifest.json").stat().st_mtime_ns == stamps["blob_0"]
    assert (out / "blob_1" / "manifest.json").stat().st_mtime_ns != stamps["blob_1"]
    assert {p.name for p in (out / "blob_2").iterdir()} == FILES
    assert {name for name in contents(out) if contents(out)[name] != before[name]} > {"blob_1/samples.nii.gz"}
    assert not any(
        name.startswith(("blob_0/", "blob_2/")) for name in contents(out) if contents(out)[name] != before[name]
    )
    assert "earlier" not in run(pgrd, images, out, tiny, address, "--seed", 5).out


def test_what_a_reader_made_stays(pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path, address: str) -> None:
    out = tmp_path / "out"
    assert run(pgrd, images, out, tiny, address).code == 0
    (out / "blob_0" / "corrected.nii.gz").write_bytes(b"a reader's")
    (out / "blob_1" / "segmentation.nii.gz").write_bytes(b"a reader's, too")
    (out / "mine").mkdir()
    write(images / "mine.nii.gz", blob_volume()[0].data[0])
    result = run(pgrd, images, out, tiny, address, "--seed", 4)
    assert result.code == 1 and "a mine that no such run has made" in result.err
    assert (out / "blob_0.earlier-1" / "corrected.nii.gz").read_bytes() == b"a reader's"
    assert (out / "blob_1.earlier-1" / "segmentation.nii.gz").read_bytes() == b"a reader's, too"
    assert not (out / "blob_2.earlier-1").exists() and not list((out / "mine").iterdir())
    for name in ("blob_0", "blob_1", "blob_2"):
        manifest = json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["request"]["seed"] == 4


def test_workers_killed_in_the_middle_change_nothing(tiny: Path, images: Path, tmp_path: Path, client: Any) -> None:
    bundle, request = Bundle.load(tiny), Request(samples=4, steps=12)
    killed: list[int] = []

    def compute(out: Path, *, disturb: bool) -> None:
        results = Results(out, bundle, request.resolved(bundle.spec))

        def show(fraction: float, _text: str, _left: float | None) -> None:
            if disturb and not killed and 0 < fraction < 1 and not list(out.glob("blob_*")):  # all are under way
                killed.extend(kill_workers(client))

        with results.opened():
            batch = Batch(find_images(images), results, show)
            batch.run(client, "the cluster", batch.keep())
            write_summary(batch.outcomes, results)
        assert [outcome.state for outcome in batch.outcomes] == ["done"] * 3, batch.outcomes

    compute(tmp_path / "calm", disturb=False)
    compute(tmp_path / "killed", disturb=True)
    assert len(killed) == 2 and not any(psutil.pid_exists(pid) for pid in killed)
    calm, disturbed = contents(tmp_path / "calm"), contents(tmp_path / "killed")
    assert disturbed == calm and len(calm) == 3 * len(FILES) + 2


def test_samples_for_the_window_survive_killed_workers(tiny: Path, images: Path, client: Any, address: str) -> None:
    volume, bundle = read_volume(images / "blob_0.nii.gz"), Bundle.load(tiny)
    request = Request(samples=4, steps=12)
    *_, here = predict(volume, bundle, request)
    killed: list[int] = []
    for update in predict_at(Where(address), volume, bundle, request):
        if not killed and update.kind == "step" and 0 < update.fraction < 1:
            killed = kill_workers(client)
    assert killed and update.prediction is not None and here.prediction is not None
    assert np.array_equal(np.stack(update.prediction.masks), np.stack(here.prediction.masks))
    assert np.array_equal(update.prediction.probability, here.prediction.probability)


def test_a_case_that_ends_every_worker_fails_alone(
    tiny: Path, images: Path, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker does that is killed for its memory."""
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
    bundle = Bundle.load(tiny)
    results = Results(tmp_path / "out", bundle, Request(samples=2, steps=400).resolved(bundle.spec))
    (images / "blob_1.nii.gz").unlink()
    (images / "blob_2.nii.gz").unlink()
    killed: list[int] = []

    def show(fraction: float, *_: Any) -> None:
        if fraction > 0 and not killed:
            killed.extend(kill_workers(client))

    deadly = Batch(find_images(images), results, show)
    with results.opened():
        deadly.run(client, "the cluster", deadly.keep())
    assert killed and [o.state for o in deadly.outcomes] == ["failed"]
    assert "memory" in deadly.outcomes[0].sentence and str(tmp_path) not in deadly.outcomes[0].sentence


def test_an_unexpected_error_is_said_without_its_message(
    tiny: Path, tmp_path: Path, client: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(paths: Any, *_: Any) -> Any:
        raise ValueError(f"something about {paths[0]} and Jane Doe")

    monkeypatch.setattr("napari_pgrd.io.images.read_image", broken)
    bundle = Bundle.load(tiny)
    batch = Batch(find_images(images), Results(tmp_path / "out", bundle, Request().resolved(bundle.spec)))
    batch.run(client, "the cluster", batch.keep())
    sentence = batch.outcomes[0].sentence
    assert "ValueError in io/caselist.py, line" in sentence
    assert "Doe" not in sentence and str(tmp_path) not in sentence


def test_a_cluster_of_our_own_and_ctrl_c(tiny: Path, images: Path, tmp_path: Path) -> None:
    """As typed: nothing listens but on this machine; a stop leaves whole cases, no process, and can be gone on from."""
    for seed in range(3, 6):
        write(images / f"blob_{seed}.nii.gz", blob_volume(seed=seed)[0].data[0])
    out = tmp_path / "out"
    start = "from napari_pgrd.cli import main; main()"
    words = [sys.executable, "-c", start, "batch", images, "--bundle", tiny, "--out", out, "--workers", "1"]
    words += ["--steps", "20", "--samples", "2"]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
        start_new_session=True,
        # A shell that starts the tests in the background makes them, and so their children, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    family = psutil.Process(process.pid)
    until = time.monotonic() + 300
    while not list(out.glob("blob_*")):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)
    children = family.children(recursive=True)
    heard = listening(family)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group hears it
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 130, (said, complained)
    assert heard == {"127.0.0.1"}
    assert "of 6 cases are finished; the same command goes on" in complained and "Traceback" not in complained
    _, alive = psutil.wait_procs(children, timeout=60)
    assert children and not alive
    assert not [p for p in out.glob(".pgrd-*") if p.is_dir()]
    for folder in out.glob("blob_*"):
        assert {p.name for p in folder.iterdir()} == FILES
    states = [row["state"] for row in table(out)]
    assert len(states) == 6 and {"done", "not done"} == set(states)


def test_channels_of_a_list_and_bundles_that_travel(pgrd: Pgrd, tmp_path: Path, address: str, client: Any) -> None:
    bundle = make_tiny_bundle(tmp_path / "two", channels=2, seed=3)
    data = blob_volume(channels=2)[0].data
    for i in range(2):
        write(tmp_path / "raw" / f"case_a_{i:04d}.nii.gz", data[i])
    write(tmp_path / "raw" / "case_b_0000.nii.gz", data[0])
    (tmp_path / "cases.txt").write_text(
        "# two cases\n" + "".join(f"raw/{p.name}\n" for p in sorted((tmp_path / "raw").iterdir())), encoding="utf-8"
    )
    digest = Bundle.load(bundle).digest
    assert not any(client.run(_has, digest).values())
    result = run(pgrd, tmp_path / "cases.txt", tmp_path / "out", bundle, address)
    assert result.code == 1 and "case_b: " in result.err and "channel" in result.err
    assert nib.load(tmp_path / "out" / "case_a" / "samples.nii.gz").shape == (20, 24, 18, 3)
    assert any(client.run(_has, digest).values())
    (tmp_path / "cases.csv").write_text("case;image_t1;image_t2\nA;raw/case_a_0000.nii.gz;raw/case_a_0001.nii.gz\n")
    assert run(pgrd, tmp_path / "cases.csv", tmp_path / "named", bundle, address).code == 0
    for name in NAMES:
        assert (tmp_path / "named" / "A" / name).read_bytes() == (tmp_path / "out" / "case_a" / name).read_bytes()


def test_workers_on_this_machine_know_who_is_there(client: Any, address: str, tmp_path: Path) -> None:
    """Whoever reaches a scheduler can run code as the reader, so another account on the machine must not."""
    assert address.startswith("tls://127.0.0.1:")
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        assert worker["nanny"].startswith("tls://127.0.0.1:")
    assert set(client.run(os.getpid)) == set(client.nthreads()) and len(client.nthreads()) == 2
    assert all(one.startswith("tls://127.0.0.1:") for one in client.nthreads())
    with Client(address, set_as_default=False, timeout=60) as known:
        assert known.submit(sum, [1, 2], pure=False).result(timeout=120) == 3
    stranger = Security.temporary()  # anybody can make certificates, but not those of this run
    for security, where in ((stranger, address), (None, address.replace("tls", "tcp"))):
        with pytest.raises(OSError):  # noqa: PT011 - of several kinds, by who hangs up first
            Client(where, security=security, set_as_default=False, timeout=3).close()


def test_plain_connections_between_processes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)  # as where it is not installed
    said: list[str] = []
    with local_cluster(1, "cpu", said.append) as client:
        assert client.scheduler.address.startswith("tcp://127.0.0.1:")
    assert len(said) == 1 and "cryptography is not installed" in said[0] and "napari-pgrd[cluster]" in said[0]


def _has(digest: str, dask_worker: Any) -> bool:
    return (Path(dask_worker.local_directory) / "pgrd-bundles" / digest).is_dir()


def refused(pgrd: Pgrd, *words: object) -> str:
    result = pgrd("batch", *words)
    assert result.code == 2, (result.out, result.err)
    assert result.out == "" and result.err.startswith("pgrd: ") and result.err.count("\n") == 1
    return result.err


def test_bad_input_is_one_sentence(pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path) -> None:
    out = ("--bundle", tiny, "--out", tmp_path / "out")
    assert "no file or folder nowhere" in refused(pgrd, tmp_path / "nowhere", *out)
    (tmp_path / "empty").mkdir()
    assert "empty holds no .nii" in refused(pgrd, tmp_path / "empty", *out)
    (tmp_path / "list.json").write_text("{", encoding="utf-8")
    assert "list.json is no readable list" in refused(pgrd, tmp_path / "list.json", *out)
    for name in ("Summary.CSV", "summary.md"):
        (tmp_path / "named.json").write_text(json.dumps({name: "images/blob_0.nii.gz"}), encoding="utf-8")
        assert f"A case is named {name}" in refused(pgrd, tmp_path / "named.json", *out)
    assert "not both" in refused(pgrd, images, *out, "--scheduler", "tcp://localhost:1", "--workers", 2)
    assert "choose between 1 and 64" in refused(pgrd, images, *out, "--workers", 0)
    assert "is another machine" in refused(pgrd, images, *out, "--scheduler", "tcp://10.0.0.7:8786")
    assert "wants certificates" in refused_late(pgrd, images, *out, "--scheduler", "tls://10.0.0.7:8786")
    assert "--another" not in refused(pgrd, images, "--bundle", tiny, "--out", images)


def refused_late(pgrd: Pgrd, *words: object) -> str:
    """Where it takes a connection to know; the summary says what is not done."""
    result = pgrd("batch", *words)
    assert result.code == 2, (result.out, result.err)
    return result.err


def test_nobody_answers(pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pgrd.cluster.connection.CONNECT_S", 2)
    said = refused_late(pgrd, images, "--bundle", tiny, "--out", tmp_path / "o", "--scheduler", "localhost:9")
    assert "Nothing that can be used answers at tcp://localhost:9" in said
    assert [row["state"] for row in table(tmp_path / "o")] == ["not done"] * 3


def test_two_runs_do_not_share_a_folder(pgrd: Pgrd, tiny: Path, images: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny)
    with Results(tmp_path / "out", bundle, Request().resolved(bundle.spec)).opened():
        assert "Another run writes to out" in refused(pgrd, images, "--bundle", tiny, "--out", tmp_path / "out")


def test_without_distributed_a_sentence_says_how_to_get_it(tiny: Path, images: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['distributed'] = None; from napari_pgrd.cli import main; main()"
    words = ["batch", str(images), "--bundle", str(tiny), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2 and "pip install" in done.stderr and "napari-pgrd[cluster]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stopped_run_leaves_nothing_half(tiny: Path, images: Path, tmp_path: Path) -> None:
    """What a killed run was writing is cleared away by the next."""
    bundle = Bundle.load(tiny)
    results = Results(tmp_path / "out", bundle, Request().resolved(bundle.spec))
    half = tmp_path / "out" / ".pgrd-half"
    half.mkdir(parents=True)
    shutil.copy(images / "blob_0.nii.gz", half)
    with results.opened():
        assert not half.exists()
