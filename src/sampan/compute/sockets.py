"""
Dask's messages over Unix sockets in a folder that nobody else can open.

Whoever reaches a scheduler or a worker can have it run code, and ports of the loopback interface
are open to every user of a node. An address is `unix://<folder>:<number>`, with the folder written
as in a URL, so that Dask takes it apart like any other. The folder is checked each time that it is
gone through, and by its handle, so that neither its name nor the length of its path matters.
"""

import errno
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import dask
from distributed.comm.addressing import parse_host_port
from distributed.comm.core import BaseListener, Comm, CommClosedError, Connector
from distributed.comm.registry import Backend, backends
from distributed.comm.tcp import MAX_BUFFER_SIZE, TCP
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler, bind_unix_socket

PREFIX = "unix://"


def host_of(folder: Path) -> str:
    """What stands for the folder in an address."""
    return quote(str(folder), safe="")


@contextmanager
def _checked(folder: str) -> Iterator[str]:
    """A short path to a folder; `PermissionError` where others could open it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        about = os.fstat(handle)
        if about.st_uid != os.geteuid() or about.st_mode & 0o077:
            raise PermissionError(errno.EPERM, "is open to other users", folder)
        here = f"/proc/self/fd/{handle}"
        yield here if os.path.isdir(here) else folder
    finally:
        os.close(handle)


class Socket(socket.socket):
    """One that has no timeouts of TCP, which Dask sets on whatever it is given."""

    def setsockopt(self, level: int, *option: Any) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *option)


class UnixConnector(Connector):
    async def connect(self, address: str, deserialize: bool = True, **options: Any) -> TCP:
        host, number = parse_host_port(address)
        own = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            own.setblocking(False)
            with _checked(unquote(host)) as folder:
                own.connect(f"{folder}/{number}")
        except OSError as fault:
            own.close()
            raise CommClosedError(f"{address}: {fault.strerror or fault}") from fault
        stream = IOStream(own, max_buffer_size=MAX_BUFFER_SIZE)
        return TCP(stream, f"{PREFIX}{host}:0", PREFIX + address, deserialize)


class UnixListener(BaseListener):
    prefix = PREFIX  # a worker asks for it

    def __init__(
        self,
        address: str,
        serve: Callable[[Comm], Awaitable[None]],
        deserialize: bool,
        *,
        allow_offload: bool = True,
    ) -> None:
        super().__init__()
        self._host = parse_host_port(address, 0)[0]
        self._number = secrets.randbits(40)
        self._serve = serve
        self._deserialize = deserialize
        self._allow_offload = allow_offload
        self._stop: Callable[[], None] | None = None

    @property
    def listen_address(self) -> str:
        return f"{PREFIX}{self._host}:{self._number}"

    @property
    def contact_address(self) -> str:
        return self.listen_address

    async def start(self) -> None:
        backlog = int(dask.config.get("distributed.comm.socket-backlog"))
        with _checked(unquote(self._host)) as folder:
            own = bind_unix_socket(f"{folder}/{self._number}", mode=0o600, backlog=backlog)
        leave = add_accept_handler(own, self._accept)

        def stop() -> None:
            leave()
            own.close()

        self._stop = stop

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _accept(self, connection: socket.socket, address: Any) -> None:
        own = Socket(fileno=connection.detach())
        IOLoop.current().add_callback(self._answer, IOStream(own, max_buffer_size=MAX_BUFFER_SIZE))

    async def _answer(self, stream: IOStream) -> None:
        if self._stop is None:
            stream.close()
            return
        comm = TCP(stream, self.listen_address, f"{PREFIX}{self._host}:0", self._deserialize)
        comm.allow_offload = self._allow_offload
        try:
            await self.on_connection(comm)
        except CommClosedError:
            return
        await self._serve(comm)


class Unix(Backend):
    def get_connector(self) -> UnixConnector:
        return UnixConnector()

    def get_listener(
        self, loc: str, handle_comm: Any, deserialize: bool, **options: Any
    ) -> UnixListener:
        offload = options.get("allow_offload", True)
        return UnixListener(loc, handle_comm, deserialize, allow_offload=offload)

    def get_address_host(self, loc: str) -> str:
        return str(parse_host_port(loc)[0])

    def get_address_host_port(self, loc: str) -> tuple[str, int]:
        host, number = parse_host_port(loc)
        return host, number

    def resolve_address(self, loc: str) -> str:
        return loc

    def get_local_address_for(self, loc: str) -> str:
        return self.get_address_host(loc)


backends[PREFIX.removesuffix("://")] = Unix()
