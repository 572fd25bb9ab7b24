"""A loopback address for each DB instance identifier, forwarded to the server behind the name.

AWS gives each identifier a DNS name. Here it is an address of 127.0.0.0/8, the same for as long as
the cloud runs, which DescribeDBInstances reports as Endpoint.Address, with the instance's own port
as Endpoint.Port. A rename therefore moves an address from one server to another, as AWS moves the
DNS name, and cuts the connections that were open.

A role that the server asks for no password is one that logs in by a token of IAM (tokens.py).

A client that asks for TLS, as PostgreSQL's clients do, is answered with a certificate of the cloud's
authority for the endpoint's address; one that does not is served in clear ("rds.force_ssl" off).

MariaDB's servers speak first and end TLS themselves. They are told who comes (the PROXY protocol), so that their users
and sessions have the client's host.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .certificates import Authority
    from .records import Fields

# Where a port is taken on every loopback address (a system PostgreSQL on 0.0.0.0), this is added.
ALTERNATIVE_PORT_OFFSET = 10000
# The hosted zone of RDS in us-east-1, part of every Endpoint.
HOSTED_ZONE_ID = "Z2R2ITUGPM61AM"
# What a client of PostgreSQL may send before its first message (PostgreSQL, "Message Formats": SSLRequest,
# GSSENCRequest): its length and a number.
SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
GSS_ENCRYPTION_REQUEST = bytes.fromhex("00000008 04d21630")
# Of the server: "AuthenticationOk", and "AuthenticationCleartextPassword" (the same chapter).
AUTHENTICATION_OK = b"R" + bytes.fromhex("00000008 00000000")
PASSWORD_WANTED = b"R" + bytes.fromhex("00000008 00000003")
# In the first message of a function that logs in.
FUNCTION = b"application_name\0rds-encrypt\0"
# In the first message of a client that replicates (PostgreSQL, "Streaming Replication Protocol").
REPLICATION = b"\0replication\0"


class Endpoints:
    """Hands out addresses by identifier and opens and closes their forwarders."""

    def __init__(
        self,
        lets_through: Callable[[int, str, int], bool],
        refusal: Callable[[str, tuple[str, int], int, str, str], str],
        authority: Authority,
    ) -> None:
        """`lets_through(client's port, identifier, port)` judges each connection: see network.py;
        `refusal(identifier, endpoint, client's port, user, token)` each login by a token: see tokens.py."""
        self._lets_through, self._refusal = lets_through, refusal
        self._authority = authority
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

    def open(
        self,
        identifier: str,
        port: int,
        socket_path: str,
        before_replication: Callable[[], None] = lambda: None,
        certify: Callable[[str], None] | None = None,
    ) -> Fields:
        """Forwards the identifier's address to the server at the Unix socket; returns the Endpoint.

        `certify(address)` is for a server that ends TLS itself: it shows that address's certificate afterwards.
        """
        self.close(identifier)
        with self._lock:
            listener = self._listen(identifier, port)
        address, taken = listener.getsockname()
        if certify:
            # Who comes meanwhile waits to be accepted.
            try:
                certify(address)
            except RuntimeError:
                listener.close()
                raise
        with self._lock:
            forwarder = Forwarder(
                listener,
                socket_path,
                lambda client: self._lets_through(client, identifier, taken),
                lambda *login: self._refusal(identifier, (address, taken), *login),
                None if certify else self._authority.context(address),
                before_replication,
            )
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

    def cut_after(self, identifier: str, messages: int) -> None:
        """Cuts the functions' connections once they have sent that much more; the last message still arrives."""
        if forwarder := self._forwarders.get(identifier):
            forwarder.messages_left = messages

    def take_peak(self, identifier: str) -> int:
        """The most clients that were connected at once since this was last asked."""
        forwarder = self._forwarders.get(identifier)
        if forwarder is None:
            return 0
        peak, forwarder.peak = max(forwarder.peak, len(forwarder.connections)), 0
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

    def __init__(
        self,
        listener: socket.socket,
        socket_path: str,
        lets_through: Callable[[int], bool],
        refusal: Callable[[int, str, str], str],
        tls: ssl.SSLContext | None,
        before_replication: Callable[[], None],
    ) -> None:
        """`before_replication` is called when a client says at the start that it wants to replicate.

        Without `tls` the server is MariaDB's and ends it itself.
        """
        self._listener = listener
        self._lets_through, self._refusal = lets_through, refusal
        self._tls = tls
        self._before_replication = before_replication
        self.socket_path = socket_path
        self.connections: set[Connection] = set()
        self.peak = 0
        self.messages_left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # shutdown wakes the thread that sits in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            connection.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, (_, client_port) = self._listener.accept()
            except OSError:
                return
            if not self._lets_through(client_port):
                client.close()
                continue
            # Else each answer of two pieces waits 40 ms for an acknowledgement (Nagle's algorithm).
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.socket_path)
            except OSError:
                client.close()
                continue
            connection = Connection(client, server, client_port)
            self.connections.add(connection)
            self.peak = max(self.peak, len(self.connections))
            serve = self._serve if self._tls else self._introduce
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def _introduce(self, connection: Connection) -> None:
        """Says who comes, and is silent from then on."""
        with contextlib.suppress(OSError):
            (source, source_port), (target, port) = connection.client.getpeername(), connection.client.getsockname()
            connection.server.sendall(f"PROXY TCP4 {source} {target} {source_port} {port}\r\n".encode())
            pumped = (connection.server.recv, connection.client.sendall, connection)
            threading.Thread(target=self._pump, args=pumped, daemon=True).start()
            self._pump(connection.client.recv, connection.server.sendall, connection)
        self._end(connection)

    def _serve(self, connection: Connection) -> None:
        assert self._tls
        with contextlib.suppress(OSError):
            client = _greeted(connection.client, self._tls)
            start = client.recv(65536)
            if REPLICATION in start:
                self._before_replication()
            connection.server.sendall(start)
            # Whoever has left already is owed none.
            answer = connection.server.recv(65536) if start else b""
            if answer.startswith(AUTHENTICATION_OK) and not self._logs_in(client, connection.client_port, start):
                self._end(connection)
                return
            client.sendall(answer)
            threading.Thread(
                target=self._pump, args=(connection.server.recv, client.sendall, connection), daemon=True
            ).start()
            connection.is_of_function = FUNCTION in start and isinstance(client, Encrypted)
            self._pump(client.recv, lambda data: self._deliver(data, connection), connection)
        self._end(connection)

    def _deliver(self, data: bytes, connection: Connection) -> None:
        connection.server.sendall(data)
        if self.messages_left is None or not connection.is_of_function:
            return
        self.messages_left -= 1
        if self.messages_left <= 0:
            self.messages_left = None
            for one in list(self.connections):
                if one.is_of_function:
                    one.cut()

    def _logs_in(self, client: socket.socket | Encrypted, client_port: int, start: bytes) -> bool:
        """Whether the client has the token that the server would not ask for."""
        # After its length and the protocol's version: names and values, each of them ended.
        words = start[8:].split(b"\0")
        user = dict(zip(words[::2], words[1::2], strict=False))[b"user"].decode()
        client.sendall(PASSWORD_WANTED)
        message = client.recv(65536)
        while message and len(message) < 1 + int.from_bytes(message[1:5], "big"):
            message += client.recv(65536)
        refusal = "" if isinstance(client, Encrypted) else "without TLS no token is taken"
        refusal = refusal or self._refusal(client_port, user, message[5:-1].decode())
        if refusal:
            said = f'SFATAL\0VFATAL\0C28000\0MPAM authentication failed for user "{user}"\0D{refusal}\0\0'.encode()
            client.sendall(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
        return not refusal

    def _pump(self, receive: Callable[[int], bytes], send: Callable[[bytes], object], connection: Connection) -> None:
        with contextlib.suppress(OSError):
            while data := receive(65536):
                send(data)
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        connection.cut()
        self.connections.discard(connection)


class Connection:
    """The two ends between which a forwarder stands."""

    def __init__(self, client: socket.socket, server: socket.socket, client_port: int) -> None:
        self.client, self.server, self.client_port = client, server, client_port
        self.is_of_function = False

    def cut(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Encrypted:
    """The server's end of TLS on a socket. Two threads may use it at once, one that receives and one that sends:
    ssl.SSLSocket is not made for that."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        is_done = False
        while not is_done:
            try:
                self._tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                # Of a handshake that failed, the alert.
                self._plain.sendall(self._outgoing.read())
            if not is_done:
                self._take(self._plain.recv(65536))

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
            received = self._plain.recv(size)
            with self._lock:
                self._take(received)

    def sendall(self, data: bytes) -> None:
        with self._lock:
            self._tls.write(data)
            encrypted = self._outgoing.read()
        # Outside the lock: else who does not read could not write either.
        self._plain.sendall(encrypted)

    def _take(self, received: bytes) -> None:
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()


def _greeted(client: socket.socket, context: ssl.SSLContext) -> socket.socket | Encrypted:
    """The client, encrypted if it wants that: PostgreSQL, "Message Flow", SSL Session Encryption."""
    while True:
        first = client.recv(len(SSL_REQUEST), socket.MSG_PEEK | socket.MSG_WAITALL)
        if first not in (SSL_REQUEST, GSS_ENCRYPTION_REQUEST):
            return client
        client.recv(len(first))
        if first == SSL_REQUEST:
            client.sendall(b"S")
            encrypted = Encrypted(client, context)
            encrypted.shake_hands()
            return encrypted
        client.sendall(b"N")


def _endpoint(address: str, port: int) -> Fields:
    return {"Address": address, "Port": port, "HostedZoneId": HOSTED_ZONE_ID}
