"""The pool against a next hop that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from gateway import limits
from gateway.config import Address
from gateway.smtp import connection
from gateway.smtp import upstream as pool
from gateway.smtp.client import Extensions
from gateway.smtp.replies import Reply
from tests.conftest import eventually_async, free_port
from tests.gateway.smtp.hop import HANG, HANG_UP, Hop
from tests.gateway.smtp.pool import Letter, answers, at_any, counted, pooled


async def test_start_learns_what_the_next_hop_offers_and_keeps_the_connection() -> None:
    async with Hop(keywords=[b"PIPELINING", b"SIZE 1000"]) as hop, pooled(hop.port) as upstream:
        await upstream.start()
        assert upstream.up
        assert upstream.extensions is not None
        assert (upstream.extensions.pipelining, upstream.extensions.size) == (True, 1000)
        await answers(upstream, Letter())
        assert hop.connections == 1


async def test_messages_share_connections_and_keep_their_answers() -> None:
    async with Hop() as hop, pooled(hop.port, connections_max=3) as upstream:
        letters = [Letter(path=b"u%d@example.test" % number, content=b"%d\r\n" % number) for number in range(50)]
        replies = await answers(upstream, *letters)
        assert replies == [Reply(250, b"2.0.0 queued")] * 50
        assert hop.connections == 3
        assert sorted((*received.rcpt, received.wire) for received in hop.received) == sorted(
            (b"RCPT TO:<u%d@example.test>" % number, b"%d\r\n" % number) for number in range(50)
        )


async def test_i3_each_recipient_hears_its_own_answer() -> None:
    async with Hop(keywords=[b"PIPELINING"]) as hop, pooled(hop.port, connections_max=1) as upstream:
        hop.script["RCPT"] = [b"250 ok\r\n", b"550 5.1.1 no\r\n", b"250 ok\r\n", b"450 4.2.1 later\r\n"]
        hop.script["DATA"] = [b"354 go\r\n", b"354 go\r\n", b"354 go\r\n", b"503 no recipients\r\n"]
        replies = await answers(upstream, *(Letter() for _ in range(5)))
        assert [reply.code for reply in replies] == [250, 550, 250, 450, 250]
        assert b"RSET" in hop.commands


async def test_nobody_listens() -> None:
    async with pooled(free_port()) as upstream:
        await upstream.start()
        assert not upstream.up
        assert await answers(upstream, Letter(), Letter()) == [pool.UNREACHABLE] * 2


async def test_the_return_of_a_next_hop_is_noticed_without_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MAX", 0.01)
    hop = Hop(port=free_port())
    async with pooled(hop.port) as upstream:
        await upstream.start()
        async with hop:
            await eventually_async(lambda: upstream.up, what="next hop up")


async def test_one_dead_host_of_two_costs_no_message() -> None:
    async with Hop() as hop, pooled(free_port(), hop.port) as upstream:
        assert (await answers(upstream, *(Letter() for _ in range(20)))) == [Reply(250, b"2.0.0 queued")] * 20
        assert upstream.up


@pytest.mark.parametrize("banner", [b"554 5.7.1 go away\r\n", b"421 4.3.2 busy\r\n", b"garbage\r\n", HANG_UP])
async def test_a_host_that_does_not_greet_is_passed_over(banner: bytes) -> None:
    async with Hop(always={"CONNECT": banner}) as first, Hop() as second, pooled(first.port, second.port) as upstream:
        assert (await answers(upstream, Letter()))[0].code == 250
    async with Hop(always={"CONNECT": banner}) as only, pooled(only.port) as upstream:
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE], "a greeting's 554 is not the message's"


@pytest.mark.parametrize("how", [HANG_UP, b"421 4.4.2 idle\r\n"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
async def test_a_kept_connection_that_ends_before_the_dot_costs_nothing(step: str, how: bytes) -> None:
    async with Hop() as hop, pooled(hop.port) as upstream:
        await answers(upstream, Letter())
        hop.script[step] = [how]
        assert (await answers(upstream, Letter()))[0].code == 250
        assert hop.connections == 2
        assert len(hop.received) == 2


async def test_it_is_tried_once_more_and_no_more() -> None:
    async with Hop() as hop, pooled(hop.port) as upstream:
        await answers(upstream, Letter())
        hop.always["MAIL"] = HANG_UP
        assert await answers(upstream, Letter()) == [pool.LOST]
        assert hop.connections == 2


async def test_a_fresh_connection_that_ends_is_not_tried_again() -> None:
    async with Hop(always={"DATA": HANG_UP}) as hop, pooled(hop.port) as upstream:
        assert await answers(upstream, Letter()) == [pool.LOST]
        assert hop.connections == 1


async def test_i2_a_connection_lost_after_the_dot_is_neither_success_nor_sent_again() -> None:
    async with Hop() as hop, pooled(hop.port) as upstream:
        await answers(upstream, Letter())
        hop.script["DOT"] = [HANG_UP]
        assert await answers(upstream, Letter()) == [pool.LOST]
        assert hop.connections == 1
        assert (await answers(upstream, Letter()))[0].code == 250


async def test_a_restarted_next_hop_is_found_again() -> None:
    hop = Hop()
    await hop.start()
    async with pooled(hop.port) as upstream:
        await answers(upstream, Letter(), Letter(), Letter())
        await hop.stop()
        await hop.start()
        assert (await answers(upstream, Letter()))[0].code == 250
    await hop.stop()


@pytest.mark.parametrize("step", ["MAIL", "DATA", "DOT"])
async def test_silence_has_a_deadline_and_its_late_answer_meets_nobody(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_NEXT_HOP_COMMAND_S", 0.05)
    async with Hop(script={step: [HANG]}) as hop, pooled(hop.port) as upstream:
        letter = Letter(deadline=asyncio.get_running_loop().time() + 0.1)
        assert await answers(upstream, letter) == [pool.LATE if step == "DOT" else pool.LOST]
        assert (await answers(upstream, Letter()))[0].code == 250
        assert hop.connections == 2
        assert letter.late_replies == []


async def test_i7_who_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_WAITING_MAX", 2)
    async with Hop(script={"DOT": [HANG]}) as hop, pooled(hop.port, connections_max=1) as upstream:
        letters = [Letter() for _ in range(4)]
        for letter in letters:
            letter.deadline = asyncio.get_running_loop().time() + 100
            upstream.send(letter)
        assert [letter.replies for letter in letters] == [[], [], [pool.BUSY], [pool.BUSY]]


async def test_waiting_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with Hop(script={"MAIL": [HANG]}) as hop, pooled(hop.port, connections_max=1) as upstream:
        now = asyncio.get_running_loop().time()
        upstream.send(Letter(deadline=now + 100))
        assert await answers(upstream, Letter(deadline=now + 0.05)) == [pool.BUSY]
        assert hop.received == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
async def test_no_command_has_more_time_than_its_message(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has waited long for a connection must not have a command's whole time on top."""
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_NEXT_HOP_COMMAND_S", 1000.0)
    async with Hop(script={step: [HANG]}) as hop, pooled(hop.port) as upstream:
        assert await answers(upstream, Letter(deadline=asyncio.get_running_loop().time() + 0.1)) == [pool.LOST]


async def test_idle_connections_are_left_with_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with Hop() as hop, pooled(hop.port, idle_s=0) as upstream:
        await answers(upstream, Letter())
        await eventually_async(lambda: not hop.open, what="connection closed")
        assert hop.commands[-1] == b"QUIT"


async def test_a_connection_carries_a_bounded_number_of_messages() -> None:
    async with Hop() as hop, pooled(hop.port, connections_max=1, messages_per_connection=3) as upstream:
        await answers(upstream, *(Letter() for _ in range(7)))
        assert hop.connections == 3
        assert len(hop.received) == 7


async def test_refusals_that_need_no_next_hop_leave_the_connection_alone() -> None:
    async with Hop(keywords=[b"PIPELINING", b"SIZE 10"]) as hop, pooled(hop.port, connections_max=1) as upstream:
        replies = await answers(upstream, *(Letter() for _ in range(2000)), Letter(content=b"ok\r\n"))
        assert {reply.code for reply in replies[:-1]} == {552}
        assert replies[-1].code == 250
        assert hop.connections == 1


async def test_unsolicited_words_close_the_connection() -> None:
    async with Hop(script={"DOT": [b"250 ok\r\n250 ok\r\n"]}) as hop, pooled(hop.port) as upstream:
        assert [reply.code for reply in await answers(upstream, Letter())] == [250]
        assert [reply.code for reply in await answers(upstream, Letter())] == [250]
        assert hop.connections == 2


async def test_closing_answers_everybody() -> None:
    async with Hop(script={"DOT": [HANG]}) as hop, pooled(hop.port, connections_max=1) as upstream:
        letters = [Letter(deadline=asyncio.get_running_loop().time() + 100) for _ in range(2)]
        for letter in letters:
            upstream.send(letter)
        await eventually_async(lambda: b"DATA" in hop.commands, what="message under way")
        await upstream.close()
        assert [letter.replies for letter in letters] == [[pool.LOST], [pool.UNREACHABLE]]
        late = Letter()
        upstream.send(late)
        assert late.replies == [pool.UNREACHABLE]


@pytest.mark.parametrize("how", [HANG_UP, b"421 4.4.2 idle\r\n"])
async def test_a_connection_that_only_waited_may_be_stale_too(how: bytes) -> None:
    """One that was opened to learn what the next hop offers carries its first message much later."""
    async with Hop(script={"MAIL": [how]}) as hop, pooled(hop.port) as upstream:
        await upstream.start()
        assert (await answers(upstream, Letter()))[0].code == 250
        assert upstream.up
        assert hop.connections == 2


async def test_connections_go_to_hosts_by_weight_and_to_one_that_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MAX", 0.05)
    light, heavy = Hop(), Hop()
    async with light, heavy, pooled(light.port, heavy.port, weights=(1, 9), messages_per_connection=1) as upstream:
        await answers(upstream, *(Letter() for _ in range(200)))
        assert len(light.received) + len(heavy.received) == 200
        assert 0 < len(light.received) < len(heavy.received)
        await heavy.stop()
        replies = await answers(upstream, *(Letter() for _ in range(20)))
        assert {reply.code for reply in replies} == {250}, "the other takes them"
        await heavy.start()
        before = len(heavy.received)

        async def back() -> bool:
            await answers(upstream, Letter())
            return len(heavy.received) > before

        await eventually_async(back, within=90, what="traffic at the host that is back")


async def test_however_many_doors_start_each_host_is_asked_once() -> None:
    async with Hop() as one, Hop() as other, pooled(one.port, other.port) as upstream:
        await asyncio.gather(*(upstream.start() for _ in range(5)))
        assert upstream.extensions is not None
        assert (one.connections, other.connections) == (1, 1)


async def test_each_host_is_shown_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MAX", 0.05)
    one, other = Hop(), Hop()
    async with one, other, at_any(*(Address("127.0.0.1", hop.port) for hop in (one, other))) as (upstream, metrics):
        shown = [metrics.hosts["relay", f"127.0.0.1:{hop.port}"] for hop in (one, other)]
        assert len(metrics.hosts) == 2
        assert [(host.up, host.connections, host.faults) for host in shown] == [(0, 0, 0)] * 2
        await upstream.start()

        def says(*numbers: tuple[int, int]) -> bool:
            return [(host.up, host.connections) for host in shown] == list(numbers)

        await eventually_async(lambda: says((1, 1), (1, 1)), within=90, what="both up")
        assert [host.faults for host in shown] == [0, 0]
        await other.stop()

        async def noticed() -> bool:
            """Chance says whose turn it is, so one round of messages may not come to the host that is down."""
            await answers(upstream, *(Letter() for _ in range(4)))
            return shown[1].faults > 1 and shown[1].up == 0

        await eventually_async(noticed, within=90, what="the one that is down")
        assert (shown[0].up, shown[0].faults, shown[1].connections) == (1, 0, 0)
        await other.start()
        await eventually_async(lambda: shown[1].up == 1 and shown[1].connections == 1, within=90, what="both up again")
        known = shown[1].faults
        assert [reply.code for reply in await answers(upstream, *(Letter() for _ in range(4)))] == [250] * 4
        assert (shown[0].faults, shown[1].faults) == (0, known)


async def test_a_host_that_takes_connections_but_no_message_is_left_alone() -> None:
    async with Hop(always={"MAIL": HANG_UP}) as bad, Hop() as good, pooled(bad.port, good.port) as upstream:
        replies = [(await answers(upstream, Letter()))[0] for _ in range(30)]
        assert sum(reply.code != 250 for reply in replies) <= 1


async def test_after_a_long_outage_a_message_is_reason_enough_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a host is out of favour: there is no other, so the next message does not wait for that."""
    monkeypatch.setattr(limits, "SMTP_RECONNECT_S", 0.1)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MIN", 1000.0)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MAX", 1000.0)
    hop = Hop(port=free_port())
    async with pooled(hop.port) as upstream:
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE]

        async def sent() -> bool:
            return (await answers(upstream, Letter()))[0].code == 250

        async with hop:
            await eventually_async(sent, within=90, what="a message at the host that is back")


async def test_while_all_hosts_fail_there_is_one_attempt_at_a_time() -> None:
    async with Hop(always={"CONNECT": b"421 4.3.2 busy\r\n"}) as hop, pooled(hop.port) as upstream:
        await upstream.start()
        assert await answers(upstream, *(Letter() for _ in range(100))) == [pool.UNREACHABLE] * 100
        assert hop.connections == 1, "they were deferred without another look"


async def test_a_name_is_resolved_and_all_its_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hop() as hop:
        looked_up = []

        async def resolved(host: str, port: int) -> list[tuple[str, int]]:
            looked_up.append(host)
            return [(f"127.0.0.{last}", port) for last in (2, 3, 1)]

        monkeypatch.setattr(connection, "_resolved", resolved)
        async with at_any(Address("relay.example.test", hop.port), messages_per_connection=1) as (upstream, metrics):
            assert (await answers(upstream, Letter(), Letter()))[0].code == 250
            assert looked_up.count("relay.example.test") >= 2, "for each new connection"
            assert counted(metrics) == {}


async def test_a_name_that_does_not_resolve_defers() -> None:
    async with at_any(Address("gone.invalid", 25)) as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE]
        assert counted(metrics) == {"unreachable": 1}


async def test_what_hosts_offer_is_what_all_of_them_offer() -> None:
    one, other = Hop(keywords=[b"SIZE 9000", b"8BITMIME", b"DSN"]), Hop(keywords=[b"SIZE 5000", b"8BITMIME"])
    async with one, other, pooled(one.port, other.port) as upstream:
        await upstream.start()
        assert upstream.extensions == Extensions(eight_bit_mime=True, size=5000)


async def test_i4_what_a_host_lacks_that_was_away_at_the_start_is_temporary() -> None:
    """Its client was promised 8BITMIME by its EHLO and cannot know better before the next; after that, it is final."""
    hop = Hop(keywords=[b"PIPELINING"], port=free_port())
    letter = {"sender_parameters": {b"BODY": b"BODY=8BITMIME"}, "content": b"\r\n\xc3\xa7\r\n"}
    async with pooled(hop.port) as upstream:
        await upstream.start()
        async with hop:
            await eventually_async(lambda: upstream.up, within=90, what="next hop up")
            (reply,) = await answers(upstream, Letter(**letter))
            assert (reply.code, reply.text[:6]) == (451, b"4.6.3 ")
    async with hop, pooled(hop.port) as upstream:
        await upstream.start()
        (reply,) = await answers(upstream, Letter(**letter))
        assert (reply.code, reply.text[:6]) == (554, b"5.6.3 ")
