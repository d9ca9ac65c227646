"""How much an address may do, by numbers alone: buckets, lockouts, lists, and who gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.errors import SettingsError
from earmark.engine.sinks.peers import (
    EVENTS,
    EVENTS_A_SECOND,
    FORGIVEN_S,
    LOCKOUT_S,
    LONGEST_LOCKOUT_S,
    MOST_PEERS,
    REJECTIONS,
    Allowed,
    Bucket,
    Held,
    Peer,
    Peers,
    host_of,
    peer_of,
    who_gives_way,
)

STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 100)), max_size=60)
ADDRESSES = ["10.0.0.1", "192.168.1.5", "fe80::1%eth0", "2001:db8::1", "unix", "::ffff:10.0.0.1", "nonsense"]


@given(STEPS, st.floats(1, 1000), st.floats(0.1, 100))
def test_a_bucket_gives_no_more_than_its_burst_and_its_rate(
    steps: list[tuple[float, float]], burst: float, a_second: float
) -> None:
    bucket, now_s, taken = Bucket(burst, a_second), 100.0, 0.0
    for later_s, amount in steps:
        now_s += later_s
        taken += amount if bucket.take(amount, now_s) else 0.0
        assert taken <= (burst + (now_s - 100.0) * a_second) * 1.000001 + 1e-6


@given(STEPS, st.floats(1, 1000), st.floats(0.1, 100))
def test_who_waits_as_long_as_a_bucket_says_is_never_faster_than_its_rate(
    steps: list[tuple[float, float]], burst: float, a_second: float
) -> None:
    bucket, now_s, taken = Bucket(burst, a_second), 100.0, 0.0
    for later_s, amount in steps:
        now_s += later_s
        waited_s = bucket.owe(amount, now_s)
        assert waited_s >= 0
        now_s += waited_s
        taken += amount
        assert taken <= (burst + (now_s - 100.0) * a_second) * 1.000001 + 1e-6


def test_audio_in_time_never_waits() -> None:
    bucket = Bucket(60.0, 1.25)
    assert [bucket.owe(0.25, 0.25 * n) for n in range(10_000)] == [0.0] * 10_000


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1)
    assert bucket.take(1, 50)
    assert not bucket.take(1, 50)
    assert not bucket.take(1, 10)
    assert bucket.take(1, 51)


def test_a_peer_tells_half_an_event_a_second_after_its_first_thirty() -> None:
    peer = Peer()
    assert [peer.may_tell(1000.0) for _ in range(40)] == [True] * int(EVENTS) + [False] * (40 - int(EVENTS))
    assert peer.may_tell(1000.0 + 1 / EVENTS_A_SECOND)
    assert not peer.may_tell(1000.0 + 1 / EVENTS_A_SECOND)


def test_too_many_strangers_lock_a_peer_out_ever_longer_and_an_hour_forgives() -> None:
    peer, now_s, lockouts = Peer(), 1000.0, []
    for _ in range(7):
        while not peer.rejected(now_s):
            pass
        lockouts.append(peer.locked_s(now_s))
        now_s += lockouts[-1]
        assert peer.locked_s(now_s) == 0
    assert lockouts == [60, 120, 240, 480, 900, 900, 900]
    now_s += FORGIVEN_S + 1
    while not peer.rejected(now_s):
        pass
    assert peer.locked_s(now_s) == LOCKOUT_S


@given(st.lists(st.floats(0, 3), max_size=400))
def test_nobody_hears_of_more_strangers_than_a_few_a_minute_for_long(waits_s: list[float]) -> None:
    """Who tries voice after voice, and comes back whenever he may."""
    peer, now_s, heard = Peer(), 1000.0, 0
    for wait_s in waits_s:
        now_s += wait_s + peer.locked_s(now_s + wait_s)
        heard += 1
        peer.rejected(now_s)
    assert heard <= REJECTIONS + (now_s - 1000.0) / 3 + 1 + (now_s - 1000.0) / LOCKOUT_S + 1
    assert peer.locked_s(now_s) <= LONGEST_LOCKOUT_S


def test_peers_are_forgotten_that_were_silent_for_longest() -> None:
    peers = Peers()
    first, second = peers.of("10.0.0.1"), peers.of("10.0.0.2")
    for n in range(MOST_PEERS - 2):
        peers.of(f"10.1.{n // 256}.{n % 256}")
    assert peers.of("10.0.0.1") is first
    peers.of("10.9.9.9")
    assert peers.of("10.0.0.1") is first
    assert peers.of("10.0.0.2") is not second


def test_a_network_of_ipv6_is_one_peer_and_ipv4_within_ipv6_is_ipv4() -> None:
    assert peer_of("2001:db8::1") == peer_of("2001:db8::ffff:1") != peer_of("2001:db8:0:1::1")
    assert peer_of("::ffff:10.0.0.1") == peer_of("10.0.0.1") != peer_of("10.0.0.2")
    assert peer_of("unix") == "unix"
    assert [host_of(text) for text in ("1.2.3.4:5", "[fe80::1%eth0]:5", "unix")] == [
        "1.2.3.4",
        "fe80::1%eth0",
        "unix",
    ]


def test_a_list_holds_addresses_networks_and_unix() -> None:
    allowed = Allowed("wyoming.allow", ["192.168.1.0/24", "fe80::/10", "10.0.0.1"])
    assert [address in allowed for address in ADDRESSES] == [True, True, True, False, False, True, False]
    assert [address in Allowed("x", ["unix"]) for address in ADDRESSES] == [a == "unix" for a in ADDRESSES]
    assert not any(address in Allowed("x", []) for address in ADDRESSES)
    for text in ("home", "1.2.3", "1.2.3.4/33", ""):
        with pytest.raises(SettingsError, match="must be an address or a network"):
            Allowed("wyoming.allow", [text])


PLACES = st.lists(st.builds(Held, st.sampled_from("abcd"), st.floats(0, 100), st.booleans()), min_size=1, max_size=32)


@given(PLACES, st.sampled_from("abcdef"), st.booleans())
def test_who_speaks_gives_way_to_who_is_trusted_or_where_his_peer_holds_more_than_half(
    held: list[Held], newcomer: str, trusted: bool
) -> None:
    place = who_gives_way(held, newcomer, trusted, len(held), enough_s=30)
    if place is None:
        assert all(one.silent_s < 30 or (one.trusted and not trusted) for one in held)
        assert not trusted or all(one.trusted for one in held)
        return
    chosen = held[place]
    assert trusted or not chosen.trusted, "who is trusted gives way to nobody who is not"
    is_greedy = sum(one.peer == chosen.peer for one in held) > len(held) / 2 and chosen.peer != newcomer
    assert chosen.silent_s >= 30 or (trusted and not chosen.trusted) or is_greedy


def test_of_those_who_are_silent_one_of_the_peer_that_has_most_gives_way() -> None:
    def chosen(*places: tuple[str, float]) -> int | None:
        return who_gives_way([Held(*place) for place in places], "c", False, len(places), 30)

    assert chosen(("a", 500.0), ("b", 40.0), ("b", 60.0), ("b", 0.0)) == 2
    assert chosen(*[("a", 0.0)] * 2, *[("b", 0.0)] * 2) is None
    assert chosen(("a", 1.0), ("a", 2.0), ("a", 0.0), ("b", 9.0)) == 1


def test_a_peer_is_read_two_thousand_times_a_second_after_its_first_four_thousand() -> None:
    peer = Peer()
    assert [peer.read(100.0) for _ in range(4000)] == [0.0] * 4000
    assert [peer.read(100.0) for _ in range(2)] == pytest.approx([1 / 2000, 2 / 2000])
    assert peer.read(101.0) == 0.0
