"""Sampling at an address: the same samples, streaming in, cancelled, cut off, and what leaves this computer."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import LocalCluster
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QLineEdit

from napari_pgrd.cluster.address import ConnectionLostError, Where
from napari_pgrd.cluster.sampling import predict_at
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer import settings
from tests.clusters import near
from tests.hands import click, find, type_text, wait

__all__ = ["near"]


@pytest.fixture(scope="module")
def address(near) -> str:
    """Where its scheduler listens."""
    return str(near.scheduler.address)


def settled(review, qtbot) -> None:
    wait(qtbot, lambda: review.desk.worker is None and review.desk.layers.turns.waiting == 0)


def at(address: str, *args: Any) -> list[Any]:
    return list(predict_at(Where(address), *args))


def same(a, b) -> None:
    for name in ("probability", "votes", "prior", "total", "sample_entropy"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(np.stack(a.masks), np.stack(b.masks))
    assert a.key == b.key


@pytest.mark.parametrize("boxed", [False, True])
def test_samples_are_those_drawn_here(address, tiny, image_file, boxed):
    volume, bundle = read_volume(image_file), Bundle.load(tiny)
    request = Request(samples=5, steps=2, seed=4, box=((1, 18), (0, 22), (2, 17)) if boxed else None)
    *_, here = predict(volume, bundle, request)
    updates = at(address, volume, bundle, request)
    same(updates[-1].prediction, here.prediction)
    kinds = [u.kind for u in updates if u.kind not in ("note", "step")]
    assert kinds == ["prior", *["sample"] * 5, "done"]
    assert [u.index for u in updates if u.kind == "sample"] == list(range(5))
    shares = [u.fraction for u in updates]
    assert shares == sorted(shares) and shares[-1] == 1
    assert updates[-1].prediction.drawn_on == ("cpu", updates[-1].prediction.drawn_on[1])


def test_more_samples_and_locks_are_those_drawn_here(address, tiny, image_file):
    volume, bundle = read_volume(image_file), Bundle.load(tiny)
    mask = np.zeros(volume.shape, bool)
    mask[8:12, 8:12, 8:12] = True
    for locks in (None, Locks(mask, np.ones(volume.shape, np.uint8))):
        first = Request(samples=3, steps=2, locks=locks)
        more = Request(samples=6, steps=2, locks=locks)
        *_, three = predict(volume, bundle, first)
        *_, six = predict(volume, bundle, more, three.prediction)
        updates = at(address, volume, bundle, more, at(address, volume, bundle, first)[-1].prediction)
        assert [u.index for u in updates if u.kind == "sample"] == [3, 4, 5]
        same(updates[-1].prediction, six.prediction)
    region = np.zeros(volume.shape, bool)
    region[6:14, 6:14, 6:14] = True
    again = Request(samples=3, steps=2, locks=Locks(mask, np.ones(volume.shape, np.uint8), region, three.prediction))
    *_, here = predict(volume, bundle, again)
    same(at(address, volume, bundle, again)[-1].prediction, here.prediction)


def test_what_is_sent_names_nobody(near, address, tiny, image_file, caplog):
    """The job as the worker holds it, and what the scheduler and this side log."""
    named = image_file.rename(image_file.with_name("Doe^Jane.nii.gz"))
    volume, bundle = read_volume(named), Bundle.load(tiny)
    assert volume.name == "Doe^Jane" and volume.source is not None
    updates = predict_at(Where(address), volume, bundle, Request(samples=2, steps=3, box=((0, 16), (0, 16), (0, 16))))
    with caplog.at_level(logging.DEBUG):
        while next(updates).kind != "prior":
            pass
        held = [text for texts in near.run(_held).values() for text in texts]
        updates.close()
    assert held == ["(1, 16, 16, 16) image None"]  # the box alone
    assert "Doe" not in caplog.text and str(named.parent) not in caplog.text


def _held(dask_worker: Any) -> list[str]:
    jobs = [value for value in dask_worker.data.values() if type(value).__name__ == "Job"]
    return [f"{job.data.shape} {job.volume.name} {job.volume.source}" for job in jobs]


def test_the_window_draws_at_the_address_and_remembers_it(review, qtbot, address, tiny):
    click(review.dock, "advanced")
    type_text(review.dock, "cluster", address)
    assert review.state.cluster == address and not find(review.dock, "insecure").isVisible()
    click(review.dock, "sample")
    settled(review, qtbot)
    *_, here = predict(review.desk.volume, Bundle.load(tiny), Request(samples=3, steps=2))
    same(review.desk.prediction, here.prediction)
    assert review.state.phase is Phase.REVIEWING and not review.state.sentence
    assert sum(x.name.startswith("Sample ") for x in review.viewer.layers) == 3
    assert settings.load().cluster == address


def test_samples_come_one_after_the_other_and_cancel_stops_the_workers(review, qtbot, address, near):
    review.state.cluster, review.state.samples, review.state.steps = address, 60, 8
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= 2)
    click(review.dock, "cancel")
    settled(review, qtbot)
    assert 2 <= review.state.drawn < 60 and review.state.phase is Phase.REVIEWING
    assert review.desk.prediction.samples == review.state.drawn
    wait(qtbot, lambda: not any(near.run(_busy).values()))
    assert not [key for keys in near.has_what().values() for key in keys]  # nothing of the image stays


def _busy(dask_worker: Any) -> int:
    return len(dask_worker.state.executing)


def test_another_machine_needs_tls_or_a_tick(review, qtbot):
    click(review.dock, "advanced")
    type_text(review.dock, "cluster", "tcp://192.0.2.7:8786")
    tick, said = find(review.dock, "insecure"), find(review.dock, "cluster_said")
    assert isinstance(tick, QCheckBox) and tick.isVisible() and "is another machine" in said.text()
    click(review.dock, "sample")
    assert "is another machine" in review.state.sentence and review.desk.worker is None
    tick.click()
    assert review.state.insecure and not said.isVisible()
    line = find(review.dock, "cluster")
    assert isinstance(line, QLineEdit)
    QTest.keyClicks(line, "0")  # 87860 is no port, and the tick was for another address
    assert not review.state.insecure


@pytest.fixture
def scheduler() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler and a worker as somebody would start them, to be killed."""
    code = (
        "import sys\nimport napari_pgrd.cluster.worker\nfrom distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    c = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol='tcp', host='127.0.0.1',\n"
        "                     dashboard_address=None)\n"
        "    print(c.scheduler_address, flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_lost_connection_is_a_sentence_and_this_computer_is_offered(review, qtbot, scheduler, tiny):
    process, there = scheduler
    review.state.cluster, review.state.samples, review.state.steps = there, 6, 20
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= 2, 600)
    os.killpg(process.pid, signal.SIGKILL)
    settled(review, qtbot)
    drawn = review.state.drawn
    assert 2 <= drawn < 6 and "connection" in review.state.sentence and there in review.state.sentence
    assert review.state.phase is Phase.REVIEWING
    click(review.dock, "sample_here")
    settled(review, qtbot)
    assert review.state.drawn == 6 and not find(review.dock, "sample_here").isVisible()
    *_, here = predict(review.desk.volume, Bundle.load(tiny), Request(samples=6, steps=20))
    same(review.desk.prediction, here.prediction)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no OpenSSL to make certificates with")
def test_tls_lets_in_whom_its_authority_knows(tiny, image_file, tmp_path, monkeypatch):
    """As docs/batch.md says; who has no certificate, or one of another authority, gets a sentence."""
    monkeypatch.setattr("napari_pgrd.cluster.connection.CONNECT_S", 20)
    ours, theirs = (certificates(tmp_path / name) for name in ("ours", "theirs"))
    volume, bundle, request = read_volume(image_file), Bundle.load(tiny), Request(samples=2, steps=2)
    with dask.config.set(ours):
        cluster = LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tls", host="127.0.0.1", dashboard_address=None
        )
        with cluster:
            there = cluster.scheduler_address
            assert there.startswith("tls://")
            *_, here = predict(volume, bundle, request)
            same(at(there, volume, bundle, request)[-1].prediction, here.prediction)
            monkeypatch.setattr("napari_pgrd.cluster.connection.CONNECT_S", 3)
            with dask.config.set(theirs), pytest.raises(ConnectionLostError, match="Nothing that can be used answers"):
                at(there, volume, bundle, request)
            with (
                dask.config.set({f"distributed.comm.tls.{name}": None for name in ("ca-file", "client.cert")}),
                pytest.raises(InputError, match="wants certificates"),
            ):
                at(there, volume, bundle, request)


def certificates(folder: Path) -> dict[str, Any]:
    """An authority and what it signed, by the commands of docs/batch.md, as dask's configuration."""
    folder.mkdir()
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
    for line in re.findall(r"^    ((?:openssl|printf) .*)$", page, re.MULTILINE):
        subprocess.run(line, shell=True, cwd=folder, check=True, capture_output=True)
    out: dict[str, Any] = {"distributed.comm.require-encryption": True}
    out["distributed.comm.tls.ca-file"] = str(folder / "ca.pem")
    for role in ("scheduler", "worker", "client"):
        out[f"distributed.comm.tls.{role}.cert"] = str(folder / "dask.pem")
        out[f"distributed.comm.tls.{role}.key"] = str(folder / "dask.key")
    return out


def test_nobody_there(tiny, image_file, monkeypatch):
    monkeypatch.setattr("napari_pgrd.cluster.connection.CONNECT_S", 2)
    with pytest.raises(ConnectionLostError, match="Nothing that can be used answers at tcp://localhost:9"):
        at("localhost:9", read_volume(image_file), Bundle.load(tiny), Request(samples=2, steps=2))


@pytest.mark.parametrize(
    "address", ["localhost:8786", "tcp://127.0.0.1:1", "tcp://[::1]:8786", "tls://gpu.example.org:8786", "127.9.9.9:80"]
)
def test_addresses_that_are_safe(address):
    assert Where(address).address.startswith(("tcp://", "tls://"))


@pytest.mark.parametrize(
    "address", ["gpu:8786", "tcp://0.0.0.0:8786", "10.1.2.3:8786", "tcp://localhost.example.org:1"]
)
def test_addresses_that_must_be_asked_for(address):
    with pytest.raises(InputError, match="is another machine"):
        Where(address)
    assert not Where(address, insecure=True).encrypted


@pytest.mark.parametrize(
    "address", ["", "localhost", "ucx://a:1", "tcp://a:0", "tcp://a:70000", "tls://a b:1", "inproc://x"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match="is not understood"):
        Where(address, insecure=True)
