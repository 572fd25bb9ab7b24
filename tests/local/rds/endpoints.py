"""A loopback address for each DB instance identifier, forwarded to the server behind the name.

AWS gives each identifier a DNS name. Here it is an address of 127.0.0.0/8, the same for as long as
the cloud runs, which DescribeDBInstances reports as Endpoint.Address, with the instance's own port
as Endpoint.Port. A rename therefore moves an address from one server to another, as AWS moves the
DNS name, and cuts the connections that were open.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Fields

# Where a port is taken on every loopback address (a system PostgreSQL on 0.0.0.0), this is added.
ALTERNATIVE_PORT_OFFSET = 10000
# The hosted zone of RDS in us-east-1, part of every Endpoint.
HOSTED_ZONE_ID = "Z2R2ITUGPM61AM"


class Endpoints:
    """Hands out addresses by identifier and opens and closes their forwarders."""

    def __init__(self, lets_through: Callable[[int, str, int], bool]) -> None:
        """`lets_through(client's port, identifier, port)` judges each connection: see network.py."""
        self._lets_through = lets_through
        self._lock = threading.Lock()
        self._addresses: dict[str, str] = {}
        self._forwarders: dict[str, Forwarder] = {}
        # Clouds that run side by side start from different networks and skip what is taken.
        self._network = 64 + os.getpid() % 128
        self._last_host = 0

    def describe(self, identifier: str, port: int) -> Fields:
        """The Endpoint of an instance with no server behind it."""
        with self._lock:
            address = self._addresses.get(identifier) or self._next_address(identifier)
        return _endpoint(address, port)

    def open(self, identifier: str, port: int, socket_path: str) -> Fields:
        """Forwards the identifier's address to the server at the Unix socket; returns the Endpoint."""
        self.close(identifier)
        with self._lock:
            listener = self._listen(identifier, port)
            taken = listener.getsockname()[1]
            forwarder = Forwarder(listener, socket_path, lambda client: self._lets_through(client, identifier, taken))
            self._forwarders[identifier] = forwarder
        return _endpoint(*listener.getsockname())

    def is_open(self, identifier: str) -> bool:
        return identifier in self._forwarders

    def close(self, identifier: str, socket_path: str | None = None) -> None:
        """Stops listening for the identifier and cuts its open connections.

        With a path, only if that server is behind it: another instance can have the identifier by now.
        """
        with self._lock:
            forwarder = self._forwarders.get(identifier)
            if forwarder is None or socket_path not in (None, forwarder.socket_path):
                return
            del self._forwarders[identifier]
        forwarder.close()

    def take_peak(self, identifier: str) -> int:
        """The most clients that were connected at once since this was last asked."""
        forwarder = self._forwarders.get(identifier)
        if forwarder is None:
            return 0
        peak, forwarder.peak = max(forwarder.peak, len(forwarder.pairs)), 0
        return peak

    def close_all(self) -> None:
        for identifier in list(self._forwarders):
            self.close(identifier)

    def _next_address(self, identifier: str) -> str:
        self._last_host += 1
        high, low = divmod(self._last_host, 250)
        self._addresses[identifier] = f"127.{self._network}.{high % 256}.{low + 1}"
        return self._addresses[identifier]

    def _listen(self, identifier: str, port: int) -> socket.socket:
        known = self._addresses.get(identifier)
        for candidate in (port, port + ALTERNATIVE_PORT_OFFSET):
            for _ in range(20):
                address = known or self._next_address(identifier)
                with contextlib.suppress(OSError):
                    return socket.create_server((address, candidate))
                if known:
                    break
        raise OSError(f"port {port} is taken on every loopback address tried; free it or use another Port")


class Forwarder:
    """Accepts on a TCP socket and pumps bytes to and from a Unix socket."""

    def __init__(self, listener: socket.socket, socket_path: str, lets_through: Callable[[int], bool]) -> None:
        self._listener = listener
        self._lets_through = lets_through
        self.socket_path = socket_path
        self.pairs: set[tuple[socket.socket, socket.socket]] = set()
        self.peak = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # shutdown wakes the thread that sits in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self.pairs):
            _cut(pair)

    def _accept(self) -> None:
        while True:
            try:
                client, (_, client_port) = self._listener.accept()
            except OSError:
                return
            if not self._lets_through(client_port):
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.socket_path)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            self.pairs.add(pair)
            self.peak = max(self.peak, len(self.pairs))
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _cut(pair)
        self.pairs.discard(pair)


def _cut(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _endpoint(address: str, port: int) -> Fields:
    return {"Address": address, "Port": port, "HostedZoneId": HOSTED_ZONE_ID}
