"""One socket to a next hop: it is opened and greeted, then carries one message at a time.

`connect` tries all addresses a name has now; `Failed` says why none of them took us. Deadlines while messages pass are
the pool's, which looks at `deadline` once in a while.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from ipaddress import ip_address
from typing import Any, Protocol, cast

from gateway import limits
from gateway.config import UnixAddress
from gateway.smtp import client
from gateway.smtp.client import Broken, Conversation, Done, Extensions, Stage
from gateway.smtp.credentials import Credentials
from gateway.smtp.greeting import Event as GreetingEvent
from gateway.smtp.greeting import Greeting, Ready, Secure
from gateway.smtp.hosts import Host
from gateway.smtp.replies import Reply


class Copy(client.Copy, Protocol):
    """What a pool sends."""

    deadline: float  # loop time; it is answered by then
    retried: bool

    def done(self, reply: Reply) -> None:
        """Called once, in the loop, possibly from inside `send`; does not raise."""

    def late(self, reply: Reply) -> None:
        """After `done(LATE)`: what the next hop said nevertheless, or LOST. Called once; does not raise."""

    def ready(self, connection: Connection) -> None:
        """Of a copy that is `held`: `connection.release()` sends its dot. Does not raise."""


class Owner(Protocol):
    """What a connection tells the pool it belongs to."""

    def free(self, connection: Connection) -> None: ...
    def holding(self, connection: Connection) -> None: ...
    def answered(self, connection: Connection, copy: Copy, reply: Reply, seconds: float) -> None: ...
    def refused(self, copy: Copy, reply: Reply) -> None: ...
    def lost(self, connection: Connection, why: str) -> None: ...


class Failed(Exception):
    """A host took no connection: a metric label, and what the operator should see of it."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(why, detail)
        self.why = why
        self.detail = detail


async def connect(owner: Owner, host: Host, hostname: bytes, credentials: Credentials) -> Connection:
    """A greeted connection to `host`. Raises Failed with what the last of its addresses did."""
    failure = Failed("unreachable", "its name has no address")
    targets = await _addresses(host)
    # One address that swallows everything must not use up the time of all.
    timeout_s = limits.SMTP_CONNECT_S / min(len(targets), 4) if targets else 0.0
    for target in targets:
        try:
            greeting = Greeting(hostname, starttls=credentials.starttls, login=credentials.login())
        except (OSError, ValueError) as error:
            raise Failed("auth", f"the password cannot be read: {error}") from None
        connection = Connection(owner, asyncio.get_running_loop(), host, greeting, credentials)
        stands = False
        try:
            async with asyncio.timeout(timeout_s):
                await _open(connection, target)
                await connection.greet()
            stands = True
        except Failed as error:
            failure = error
        except TimeoutError:
            failure = Failed("timeout", f"not greeted within {timeout_s:g} s")
        except OSError as error:
            failure = Failed("unreachable", error.strerror or str(error))
        finally:
            if not stands:
                connection.abandon("shutdown")
        if stands:
            return connection
    raise failure


async def _addresses(host: Host) -> list[Any]:
    """Where to connect to: the path of a Unix socket, or (host, port) for each address; a name is looked up anew."""
    address = host.address
    if isinstance(address, UnixAddress):
        return [str(address.path)]
    try:
        ip_address(address.host.partition("%")[0])
    except ValueError:
        pass
    else:
        return [(address.host, address.port)]
    try:
        async with asyncio.timeout(limits.SMTP_CONNECT_S):
            found: list[Any] = await _resolved(address.host, address.port)
    except TimeoutError:
        raise Failed("unreachable", "its name was not resolved in time") from None
    except OSError as error:
        raise Failed("unreachable", f"its name does not resolve: {error.strerror or error}") from None
    random.shuffle(found)  # the resolver's order is the same for everybody
    return found[: limits.SMTP_ADDRESSES_MAX]


async def _resolved(host: str, port: int) -> list[tuple[str, int]]:
    """All addresses of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys((str(entry[4][0]), port) for entry in found))


async def _open(connection: Connection, target: Any) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(target, str):
        await loop.create_unix_connection(lambda: connection, target)
    else:
        await loop.create_connection(lambda: connection, *target)


class Connection(asyncio.Protocol):
    """Greeted by `greet`, then given messages with `begin`."""

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, host: Host, greeting: Greeting, credentials: Credentials
    ) -> None:
        self.host = host
        self.conversation = Conversation(Extensions())
        self.copy: Copy | None = None
        self.deadline = 0.0
        self.kept = False  # it was idle since it was opened
        self.overdue = False  # `copy` was answered without the next hop's answer, which may still come
        self._holding = False  # the owner knows that a dot is held
        self.opened = loop.time()
        self._deaf = False  # the next hop does not read
        self._began = 0.0
        self._owner = owner
        self._loop = loop
        self._greeting: Greeting | None = greeting
        self._credentials = credentials
        self._step: asyncio.Future[GreetingEvent] = loop.create_future()
        self._transport: asyncio.Transport | None = None

    # the greeting

    async def greet(self) -> None:
        """Say what comes before the first message. Raises Failed, OSError."""
        if self._credentials.implicit:
            await self._handshake()
        while True:
            step = self._step
            event = await step
            if step is not self._step:
                continue  # more happened since, and that counts
            self._step = self._loop.create_future()
            match event:
                case Ready():
                    return
                case Broken(why, said):
                    raise Failed(why, _told(why, said))
                case Secure():
                    await self._handshake()
                    assert self._greeting is not None
                    self._greeting.secured()
                    self._flush()

    async def _handshake(self) -> None:
        """From here on all octets are protected."""
        if self._transport is None or self._transport.is_closing():
            raise Failed("closed")
        address = self.host.address
        name = self._credentials.name("" if isinstance(address, UnixAddress) else address.host)
        try:
            context = self._credentials.context()
        except OSError as error:
            raise Failed("certificate", f"whom to trust cannot be read: {error.strerror or error}") from None
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_hostname=name, ssl_shutdown_timeout=limits.SMTP_TLS_GOODBYE_S
            )
        except ssl.SSLCertVerificationError as error:
            raise Failed("certificate", error.verify_message) from None
        except ssl.SSLError as error:
            raise Failed("tls", error.reason or str(error)) from None
        except (OSError, EOFError) as error:
            raise Failed("tls", f"the handshake was cut off: {error}") from None
        if transport is None:
            raise Failed("tls", "the handshake was cut off")
        transport.set_write_buffer_limits(high=limits.SMTP_WRITE_OCTETS)  # else it would take half a megabyte
        self._transport = transport

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        if self._credentials.implicit:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._greeting is not None:
            self._hear_greeting(self._greeting.receive(data))
        else:
            for event in self.conversation.receive(data):
                if isinstance(event, Done):
                    self._answered(event.reply)
                else:
                    self.abandon(event.why)
        self._flush()

    def pause_writing(self) -> None:
        self._deaf = True

    def resume_writing(self) -> None:
        self._deaf = False
        if self.conversation.has_more:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("closed")

    def _hear_greeting(self, event: GreetingEvent | None) -> None:
        if event is None:
            return
        if isinstance(event, Secure) and self._transport is not None:
            self._transport.pause_reading()  # what comes now belongs to the handshake
        elif isinstance(event, Ready):
            self.conversation = Conversation(event.extensions)
            self._greeting = None
        self._tell(event)

    def _tell(self, event: GreetingEvent) -> None:
        if self._step.done():
            self._step = self._loop.create_future()
        self._step.set_result(event)

    # what the pool tells

    def begin(self, copy: Copy, now: float) -> bool:
        """Send `copy` on this idle connection. False: it was answered at once, the connection is idle still."""
        refusal = self.conversation.begin(copy)
        if refusal is not None:
            self._owner.refused(copy, refusal)
            return False
        self.copy = copy
        self._holding = False
        self._began = now
        self.deadline = min(now + limits.SMTP_NEXT_HOP_COMMAND_S, copy.deadline)
        self._flush()
        return True

    def release(self) -> None:
        """Send the dot that is held; harmless when none is."""
        self.conversation.release()
        self._flush()

    def abandon(self, why: str) -> None:
        """Drop the socket at once: a reply that is still to come must not meet the next message."""
        self._end(why)
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """End an idle connection politely."""
        self.conversation.quit()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _answered(self, reply: Reply) -> None:
        copy, self.copy = self.copy, None
        assert copy is not None, "an answer without a message"
        self._owner.answered(self, copy, reply, self._loop.time() - self._began)
        self._owner.free(self)

    def _end(self, why: str) -> None:
        self.conversation.stage = Stage.OVER
        self._tell(Broken(why))
        self._owner.lost(self, why)

    def _flush(self) -> None:
        conversation, transport = self.conversation, self._transport
        if transport is None or (self._deaf and conversation.has_more):
            return
        if due := (self._greeting or conversation).output():
            transport.write(due)
            if self.copy is not None and (conversation.dot_sent or conversation.has_more):
                self.deadline = self.copy.deadline
            while conversation.has_more and not self._deaf:
                transport.write(conversation.output())
        if conversation.stage is Stage.HELD and not self._holding:
            self._holding = True
            self._owner.holding(self)


def _told(why: str, said: Reply | None) -> str:
    """What the log may hold of a refusal: an answer to AUTH may repeat the login."""
    if said is None:
        return ""
    return str(said.code) if why == "auth" else f"{said.code} {said.text[:200].decode('ascii')}"
