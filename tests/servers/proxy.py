"""A TCP proxy that makes the faults a network makes, for any protocol of questions and answers.

It runs in a thread and is told from the test's own what to do::

    with FaultProxy("127.0.0.1", server.port) as proxy:
        client = redis.Redis(port=proxy.port)
        proxy.drop_reply(nth=2)  # the second request from now is served, and its answer never arrives

A *request* is what a client sends on one connection until the server answers; a pipeline is one request. Requests are
counted over all connections, in the order in which they begin. What a server says first (MySQL's greeting) belongs to
no request.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

_T = TypeVar("_T")
_QUIET = 0.02
"""After so many seconds without another byte, a request or an answer is taken to be complete."""
_LARGE, _GAP = 1000, 0.002
"""What comes in a piece of so many bytes may go on: what follows within so many seconds belongs to it. A test that
counts requests gives more seconds (`FaultProxy.gap`): a client that has to share its processor may pause for longer."""
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends RST in place of FIN


class Fault(enum.Enum):
    """What becomes of one request."""

    DROP_REPLY = "served; the connection is reset in place of the answer"
    SWALLOW_REPLY = "served; the answer never arrives, the connection stays open"
    RESET_BEFORE = "the connection is reset, and the server never sees the request"
    RESET_AFTER = "passed on, and the connection reset at once, without waiting for an answer"
    LATE = "the client sees a reset, and the server gets the request some time later, on the same connection"
    REPEAT = "the server gets the request twice; the client sees the first answer"
    CUT_REPLY = "the connection is reset after some bytes of the answer"


@dataclass
class _Rule:
    """A fault for the nth request from now that contains the bytes."""

    fault: Fault
    nth: int
    containing: bytes
    amount: float
    fired: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Connection:
    """One client's connection and the one to the server behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    answering: asyncio.StreamReader
    """What the server says."""
    asking: bool = False
    """Whether the last bytes came from the client."""
    request: bytearray = field(default_factory=bytearray)
    passed_on: int = 0
    """How many bytes of the request the server has been sent."""
    rule: _Rule | None = None
    counted: set[int] = field(default_factory=set)
    """The rules that have counted the present request."""
    mute: bool = False
    """Whether the client gets nothing any more."""
    answers: list[bytearray] = field(default_factory=list)
    """The answers to a repeated request, as far as they have come."""
    kept_for_later: bool = False
    """Whether the connection to the server outlives the client's."""
    pumps: list[asyncio.Task[None]] = field(default_factory=list)
    """What passes bytes on, each way."""


class FaultProxy:
    """Listens on a free loopback port; passes bytes to and fro until it is told otherwise.

    Safe to use from any thread.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.requests = 0
        """How many requests have begun since the start or the last `reset_counts`."""
        self.bytes_sent = 0
        """Bytes from clients to the server."""
        self.bytes_received = 0
        """Bytes from the server to clients."""
        self.gap = _GAP
        """How long a client may pause, in seconds, within one large request."""
        self._rules: list[_Rule] = []
        self._delay = 0.0
        self._silent = False
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._deliver = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Faults of one request. Each returns at once; the event that it returns is set when the fault has been made.

    def drop_reply(self, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The nth request from now is served, and its connection reset when the answer comes."""
        return self._add(Fault.DROP_REPLY, nth, containing)

    def swallow_reply(self, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The nth request from now is served; that connection stays open and says nothing any more."""
        return self._add(Fault.SWALLOW_REPLY, nth, containing)

    def reset_before(self, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The connection of the nth request from now is reset before the server sees the request."""
        return self._add(Fault.RESET_BEFORE, nth, containing)

    def reset_after(self, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The nth request from now is passed on and its connection reset at once: whether it is served is open."""
        return self._add(Fault.RESET_AFTER, nth, containing)

    def late(self, seconds: float, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The client of the nth request from now sees a reset; the server gets the request so much later.

        Or earlier, with `deliver_late`.
        """
        return self._add(Fault.LATE, nth, containing, seconds)

    def deliver_late(self) -> None:
        """Sends what `late` holds back, and returns once the server has served it."""
        self._do(self._deliver_late())

    def repeat(self, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The server gets the nth request from now twice, one after the other; its second answer is dropped."""
        return self._add(Fault.REPEAT, nth, containing)

    def cut_reply(self, after: int, nth: int = 1, containing: bytes = b"") -> threading.Event:
        """The connection is reset after so many bytes of the answer to the nth request from now."""
        return self._add(Fault.CUT_REPLY, nth, containing, after)

    # Faults of the whole line, until `heal`.

    def delay(self, seconds: float) -> None:
        """Holds all bytes up, each way."""
        self._delay = seconds

    def black_hole(self) -> None:
        """Takes connections and bytes, and passes nothing on, on the connections that are open as well."""
        self._silent = True

    def refuse(self) -> None:
        """Refuses new connections, and resets those that are open."""
        self._do(self._close())

    def cut(self) -> None:
        """Resets all open connections, once; new ones are served."""
        self._do(self._reset_all())

    def heal(self) -> None:
        """Passes everything on again; rules that have not been used are forgotten. Silent connections are reset."""
        self._do(self._heal())

    def reset_counts(self) -> None:
        """Starts the counts anew."""
        self.requests = self.bytes_sent = self.bytes_received = 0

    def _add(self, fault: Fault, nth: int, containing: bytes, amount: float = 0.0) -> threading.Event:
        if nth < 1:
            raise ValueError(f"nth counts from 1, not {nth}")
        rule = _Rule(fault, nth, containing, amount)

        async def add() -> None:
            self._rules.append(rule)

        self._do(add())
        return rule.fired

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._listener.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._reset_all()

    async def _end(self) -> None:
        await self._close()
        for task in list(self._late):
            task.cancel()

    async def _deliver_late(self) -> None:
        self._deliver.set()
        if self._late:
            await asyncio.wait(self._late)
        self._deliver.clear()

    async def _reset_all(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            reset(self._connections[task].client)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _heal(self) -> None:
        self._rules.clear()
        self._delay = 0.0
        if self._silent:
            self._silent = False
            await self._reset_all()
        if self._listener is None:
            await self._listen()

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection(*self.target)
        except OSError:
            reset(client)
            return
        connection = _Connection(client, server, server_reader)
        this = asyncio.current_task()
        assert this is not None
        self._connections[this] = connection
        pumps = connection.pumps = [
            asyncio.create_task(self._pump(client_reader, self._ask, connection)),
            asyncio.create_task(self._pump(server_reader, self._answer, connection)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # reset from outside; what is left to do is the same
        finally:
            for pump in pumps:
                pump.cancel()
            del self._connections[this]
            client.close()
            if not connection.kept_for_later:
                server.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        deliver: Callable[[_Connection, bytes], Coroutine[Any, Any, bool]],
        connection: _Connection,
    ) -> None:
        """Passes on what comes from one side until that side, or a fault, ends it."""
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if deliver == self._ask and len(data) >= _LARGE:
                    data += await rest_of(source, self.gap)
                if self._delay:
                    await asyncio.sleep(self._delay)
                if not self._silent and not await deliver(connection, data):
                    return

    async def _ask(self, connection: _Connection, data: bytes) -> bool:
        """From client to server. False ends the connection."""
        self.bytes_sent += len(data)
        if not connection.asking:
            connection.asking = True
            connection.rule = None
            connection.passed_on = 0
            connection.counted.clear()
            connection.request.clear()
            self.requests += 1
        connection.request += data
        rule = connection.rule
        if rule is None:
            rule = connection.rule = self._rule_for(connection)
            if rule is not None and rule.fault is Fault.LATE:
                connection.kept_for_later = True
                self._keep(self._hold_back(connection, rule))
        if rule is not None and rule.fault is Fault.LATE:
            return True
        if rule is not None and rule.fault is Fault.RESET_BEFORE:
            return fault_made(connection, rule)
        connection.passed_on += len(data)
        connection.server.write(data)
        await connection.server.drain()
        if rule is not None and rule.fault is Fault.RESET_AFTER:
            return fault_made(connection, rule)
        return True

    def _rule_for(self, connection: _Connection) -> _Rule | None:
        """The rule whose turn the present request is; each rule counts each request once."""
        for rule in self._rules:
            if id(rule) in connection.counted or rule.containing not in connection.request:
                continue
            connection.counted.add(id(rule))
            rule.nth -= 1
            if rule.nth == 0:
                self._rules.remove(rule)
                return rule
        return None

    async def _hold_back(self, connection: _Connection, rule: _Rule) -> None:
        """Resets the client once its request is complete; sends the request on, later."""
        await until_quiet(connection.request)
        request = bytes(connection.request[connection.passed_on :])
        fault_made(connection, rule)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deliver.wait(), rule.amount)
            await asyncio.wait(connection.pumps)
            connection.server.write(request)
            await connection.server.drain()
            # An answer says that it has been served. Where none comes, which no protocol here knows, the server has had
            # plenty of time to.
            await asyncio.wait_for(connection.answering.read(1), 10)
        except (OSError, TimeoutError):
            pass  # the server has gone away in between
        finally:
            connection.server.close()

    async def _ask_again(self, connection: _Connection, rule: _Rule) -> None:
        """Sends a request a second time and waits for both answers; the client gets the first."""
        first = connection.answers[0]
        await until_quiet(first)
        second = bytearray()
        connection.answers.append(second)
        connection.server.write(bytes(connection.request))
        while not second and not connection.server.is_closing():
            await asyncio.sleep(_QUIET / 4)
        await until_quiet(second)
        connection.answers.clear()
        connection.rule = None
        rule.fired.set()
        connection.client.write(bytes(first))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _answer(self, connection: _Connection, data: bytes) -> bool:
        """From server to client. False ends the connection."""
        self.bytes_received += len(data)
        connection.asking = False
        rule = connection.rule
        match rule.fault if rule is not None else None:
            case Fault.DROP_REPLY:
                assert rule is not None
                return fault_made(connection, rule)
            case Fault.SWALLOW_REPLY:
                assert rule is not None
                connection.mute = True
                rule.fired.set()
            case Fault.REPEAT:
                assert rule is not None
                if not connection.answers:
                    connection.answers.append(bytearray())
                    self._keep(self._ask_again(connection, rule))
                connection.answers[-1].extend(data)
                return True
            case Fault.CUT_REPLY:
                assert rule is not None
                part, rule.amount = data[: int(rule.amount)], rule.amount - len(data)
                connection.client.write(part)
                await connection.client.drain()
                return True if rule.amount > 0 else fault_made(connection, rule)
        if not connection.mute:
            connection.client.write(data)
            await connection.client.drain()
        return True


async def rest_of(source: asyncio.StreamReader, gap: float) -> bytes:
    """What a client sends without a pause. A server may answer the first part of a pipeline before it has all of it."""
    rest = bytearray()
    with contextlib.suppress(TimeoutError):
        while data := await asyncio.wait_for(source.read(65536), gap):
            rest += data
    return bytes(rest)


async def until_quiet(growing: bytearray) -> None:
    """Returns once no byte has been added for a while."""
    length = -1
    while length != len(growing):
        length = len(growing)
        await asyncio.sleep(_QUIET)


def fault_made(connection: _Connection, rule: _Rule) -> bool:
    """Tells the test and resets the client, in this order. False, which ends the connection."""
    rule.fired.set()
    reset(connection.client)
    return False


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection so that the other side sees a reset, as from a machine that has gone away."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
