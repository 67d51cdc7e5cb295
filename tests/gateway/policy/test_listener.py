"""The policy door over real sockets: verdicts, order, streams, faults, bounds and the way it leaves."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import patch

import pytest

from filters.model import Reason
from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.policy.support import House, house, request
from tests.gateway.smtp.support import BLOCKED, DEFERRED


async def test_pass_block_and_defer() -> None:
    async with house() as here, here.peer() as peer:
        here.judge.verdicts = {b"no@example.test": BLOCKED, b"later@example.test": DEFERRED}
        assert await peer.ask(request(b"yes@example.test")) == b"action=DUNNO"
        blocked = await peer.ask(request(b"No@Example.test"))
        assert blocked.startswith(b"action=550 5.7.1 no_consent: ")
        assert blocked.endswith(b" id=id2")
        assert (await peer.ask(request(b"later@example.test"))).startswith(b"action=451 4.4.3 index_down: ")
        assert here.judge.asked == [b"yes@example.test", b"no@example.test", b"later@example.test"]


async def test_i3_an_address_without_a_canonical_form_is_refused() -> None:
    async with house() as here, here.peer() as peer:
        assert (await peer.ask(request(b"nobody"))).startswith(b"action=550 5.7.1 bad_address: ")


async def test_the_stream_is_found_by_sender_account_and_client() -> None:
    async with house() as here, here.peer() as peer:
        await peer.ask(request(sender=b"a@Campaign.Example.test", sasl_username=b"marka"))
        await peer.ask(request(client_address=b"::ffff:192.0.2.7"))
        await peer.ask(request(client_address=b"unknown"))
        assert here.streams.asked == [
            (b"campaign.example.test", b"marka", ip_address("192.0.2.7")),
            (b"campaign.example.test", None, ip_address("192.0.2.7")),
            (b"campaign.example.test", None, None),
        ]


async def test_a_sender_of_no_stream_is_refused_and_written_down() -> None:
    async with house() as here, here.peer() as peer:
        assert (await peer.ask(request(sender=b"a@other.test"))).startswith(b"action=550 5.7.1 no_stream: ")
        assert here.judge.refused == [Reason.NO_STREAM]


async def test_informational_mail_and_the_null_sender_pass() -> None:
    async with house() as here, here.peer() as peer:
        here.judge.verdicts = {b"b@example.test": BLOCKED}
        assert await peer.ask(request(sender=b"a@receipts.example.test")) == b"action=DUNNO"
        assert await peer.ask(request(sender=b"")) == b"action=DUNNO"


async def test_who_may_declare_has_not_declared_yet_and_is_commercial() -> None:
    async with house() as here, here.peer() as peer:
        here.judge.verdicts = {b"b@example.test": BLOCKED}
        answer = await peer.ask(request(sender=b"a@declaring.example.test"))
        assert answer.startswith(b"action=550 5.7.1 no_consent: ")


@pytest.mark.parametrize("state", [b"RCPT", b"DATA", b"END-OF-MESSAGE"])
async def test_i1_a_recipient_is_asked_about_wherever_the_service_is_listed(state: bytes) -> None:
    async with house() as here, here.peer() as peer:
        here.judge.verdicts = {b"b@example.test": BLOCKED}
        assert (await peer.ask(request(protocol_state=state))).startswith(b"action=550 ")


@pytest.mark.parametrize("state", [b"CONNECT", b"EHLO", b"MAIL", b"DATA", b"END-OF-MESSAGE", b""])
async def test_i1_without_a_recipient_nothing_passes(state: bytes) -> None:
    async with house() as here, here.peer() as peer:
        answer = await peer.ask(request(b"", protocol_state=state))
        assert answer.startswith(b"action=DEFER_IF_PERMIT 4.3.5 ")
        assert here.errors("no_recipient") == 1
        assert here.judge.asked == []


@pytest.mark.parametrize("state", [b"VRFY", b"ETRN"])
async def test_commands_that_let_nothing_in_are_nobodys_business(state: bytes) -> None:
    async with house() as here, here.peer() as peer:
        assert await peer.ask(request(protocol_state=state)) == b"action=DUNNO"
        assert here.judge.asked == []


async def test_answers_come_in_the_order_of_their_requests() -> None:
    async with house() as here, here.peer() as peer, here.peer() as other:
        here.judge.late = True
        here.judge.verdicts = {b"2@example.test": BLOCKED}
        peer.writer.write(b"".join(request(b"%d@example.test" % n) for n in range(3)))
        other.writer.write(request(b"other@example.test"))
        await eventually_async(lambda: len(here.judge.waiting) == 4, within=90)
        first = here.judge.waiting.pop(0)
        here.judge.waiting = here.judge.waiting[::-1]
        here.judge.release()
        assert await other.hear() == b"action=DUNNO"
        first.decided()
        assert [(await peer.hear())[:10] for _ in range(3)] == [b"action=DUN", b"action=DUN", b"action=550"]


async def test_i7_requests_far_ahead_of_their_answers_wait_and_none_is_lost() -> None:
    count = 3 * limits.POLICY_REQUESTS_MAX
    async with house() as here, here.peer() as peer:
        here.judge.late = True
        here.judge.verdicts = {b"250@example.test": BLOCKED}
        peer.writer.write(b"".join(request(b"%d@example.test" % n) for n in range(count)))
        heard = []
        while len(heard) < count:
            await eventually_async(lambda: len(here.judge.waiting) > 0, within=90)
            assert len(here.judge.waiting) <= limits.POLICY_REQUESTS_MAX
            here.judge.release()
            heard += [await peer.hear() for _ in range(len(here.judge.asked) - len(heard) - len(here.judge.waiting))]
        assert [n for n, answer in enumerate(heard) if answer.startswith(b"action=550")] == [250]


async def test_a_fault_closes_after_what_is_owed() -> None:
    async with house() as here, here.peer() as peer, here.peer() as other:
        here.judge.late = True
        peer.writer.write(request() + b"nonsense\n\n" + request())
        await eventually_async(lambda: here.errors("malformed") == 1, within=90)
        here.judge.release()
        assert await peer.rest() == b"action=DUNNO\n\n"
        here.judge.late = False
        assert await other.ask(request()) == b"action=DUNNO", "the others notice nothing"


async def test_i4_our_own_fault_closes_the_connection_alone() -> None:
    async with house() as here, here.peer() as peer, here.peer() as other:
        here.judge.broken = True
        peer.writer.write(request())
        await _gone(here, "internal")
        here.judge.broken = False
        assert await other.ask(request()) == b"action=DUNNO"


async def test_who_is_not_named_hears_nothing() -> None:
    async with house(allow="192.0.2.0/24") as here, here.peer() as peer:
        peer.writer.write(request())
        await _gone(here, "not_allowed")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await peer.hear()
        assert here.judge.asked == []


async def test_over_a_unix_socket_the_client_is_still_the_one_postfix_names(tmp_path: Path) -> None:
    async with house(unix=tmp_path / "policy") as here, here.peer() as peer:
        assert await peer.ask(request(client_address=b"2001:db8::7")) == b"action=DUNNO"
        assert here.streams.asked[0][2] == ip_address("2001:db8::7")


async def test_i7_connections_have_a_bound() -> None:
    with patch.object(limits, "POLICY_SESSIONS_MAX", 1):
        async with house() as here, here.peer() as first:
            assert await first.ask(request()) == b"action=DUNNO"
            async with here.peer():
                await _gone(here, "too_many_sessions")
            assert await first.ask(request()) == b"action=DUNNO"


async def test_i7_a_request_that_does_not_end_has_a_deadline() -> None:
    with patch.object(limits, "POLICY_SWEEP_S", 0.01):
        async with house() as here, here.peer() as slow, here.peer() as idle:
            assert await idle.ask(request()) == b"action=DUNNO"
            slow.writer.write(request()[:-1])
            await eventually_async(lambda: any(one._begun for one in here.door.sessions), within=90)
            here.door.now = lambda: asyncio.get_running_loop().time() + limits.POLICY_REQUEST_S + 1
            await eventually_async(lambda: here.errors("timeout") == 1, within=90)
            await eventually_async(lambda: len(here.door.sessions) == 1, within=90)
            here.door.now = lambda: asyncio.get_running_loop().time() + limits.POLICY_IDLE_S + 1
            await eventually_async(lambda: not here.door.sessions, within=90)
            assert here.errors("timeout") == 1, "an idle connection broke no rule"


async def test_draining_closes_what_is_idle_and_answers_what_is_owed() -> None:
    async with house() as here, here.peer() as idle, here.peer() as busy:
        assert await idle.ask(request()) == b"action=DUNNO"
        here.judge.late = True
        busy.writer.write(request())
        await eventually_async(lambda: len(here.judge.waiting) == 1, within=90)
        drained = asyncio.ensure_future(here.door.drain(30))
        assert await idle.rest() == b""
        assert not drained.done()
        here.judge.release()
        assert await busy.rest() == b"action=DUNNO\n\n"
        await drained
        assert here.metrics.sessions["policy"] == 0


async def test_a_peer_that_has_said_all_is_answered() -> None:
    async with house() as here, here.peer() as peer:
        here.judge.late = True
        peer.writer.write(request())
        peer.writer.write_eof()
        await eventually_async(lambda: len(here.judge.waiting) == 1, within=90)
        here.judge.release()
        assert await peer.rest() == b"action=DUNNO\n\n"


async def _gone(here: House, kind: str) -> None:
    await eventually_async(lambda: here.errors(kind) == 1, within=90, what=kind)
