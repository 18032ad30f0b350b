"""Where a scheduler listens, and whether it is safe to talk to it there.

Whoever reaches a dask scheduler can run any code on its workers, and whoever answers in its place can run any code
here: distributed sends Python objects as pickles, both ways. So the address must be this machine's own (also the near
end of an SSH tunnel), or one whose ends prove who they are by TLS certificates; anything else has to be asked for.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from napari_pgrd.engine.errors import InputError, PgrdError, require

# What follows the scheme: a name, an IPv4 address or an IPv6 one in brackets, then a port.
PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})/?")


class ConnectionLostError(PgrdError):
    """A cluster does not answer, or does so no more."""


@dataclass(frozen=True)
class Where:
    """A scheduler's address, checked.

    Attributes
    ----------
    address : str
        ``tls://host:port`` or ``tcp://host:port``; without a scheme it is taken as tcp.
    insecure : bool
        Whether a plain connection to another machine is allowed.

    Raises
    ------
    InputError
        If the address cannot be understood, or is plain, on another machine and not allowed.
    """

    address: str
    insecure: bool = False

    def __post_init__(self) -> None:
        text = self.address.strip()
        scheme, mark, rest = text.rpartition("://")
        scheme = scheme.lower() if mark else "tcp"
        found = PLACE.fullmatch(rest)
        require(
            scheme in ("tcp", "tls") and found is not None and 0 < int(found["port"]) < 65536,
            InputError,
            f"The address {text!r} is not understood. Give a scheduler as tls://host:port, or as tcp://localhost:port "
            "for one on this machine.",
        )
        assert found is not None
        object.__setattr__(self, "address", f"{scheme}://{found['host']}:{int(found['port'])}")
        require(
            scheme == "tls" or self.insecure or is_loopback(found["host"]),
            InputError,
            f"{self.address} is another machine, and tcp is neither encrypted nor does it ask who is there: images "
            "could be read on the way, and whoever answers could run code here. Use tls:// with certificates or an "
            "SSH tunnel to localhost (docs/batch.md), or allow it with --allow-insecure (in the window: the tick below "
            "the address).",
        )

    @property
    def encrypted(self) -> bool:
        """Whether both ends prove who they are, and nobody between them can read."""
        return self.address.startswith("tls://")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's own: ``localhost``, ``127.0.0.0/8`` or ``::1``; names are not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
