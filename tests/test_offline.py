"""Nothing is fetched and nothing is sent: a whole review, with every attempt to reach a network heard of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHILD = """
import json, socket, sys, time
from pathlib import Path

heard = []
# Not "bind": on import urllib3 binds the machine's own ::1 to learn whether there is IPv6, and asks nobody.
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
           "socket.sendmsg", "urllib.Request", "http.client.connect", "ftplib.connect")


def hook(event, args):
    if event in NETWORK and getattr(args[0], "family", None) != getattr(socket, "AF_UNIX", -1):  # those stay inside
        heard.append(event)


sys.addaudithook(hook)  # before anything is imported

from qtpy.QtWidgets import QApplication
from napari_pgrd.viewer.launch import open_window

viewer, dock = open_window()
desk, out = dock.desk, Path(sys.argv[1])


def wait(condition):
    until = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < until, desk.state.sentence
        QApplication.processEvents()
        time.sleep(0.005)


desk.open_example()
desk.state.steps, desk.state.samples = 1, 2
desk.sample()
wait(lambda: desk.worker is None and not desk.layers.turns.waiting)
assert desk.state.drawn == 2, desk.state.sentence
dock.corrections.start("consensus")
dock.exports.choose_folder(str(out))
dock.exports.write({"mask", "maps", "samples", "report"})
wait(lambda: desk.state.exported)
during = list(heard)
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1).close()
except OSError:
    pass
print(json.dumps({"during": during, "control": heard[len(during):], "files": sorted(p.name for p in out.iterdir())}))
viewer.close()
"""


def test_a_whole_review_asks_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "out")], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "socket.connect" in said["control"]  # or the hook would be deaf
    assert {"segmentation.nii.gz", "samples.nii.gz", "report.html"} <= set(said["files"])
    assert said["during"] == []
