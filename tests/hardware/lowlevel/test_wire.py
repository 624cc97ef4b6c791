"""Frames on the wire: their bytes, what is refused, and that nothing is lost on the way."""

import math
import struct
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hardware.lowlevel.wire import (
    BUCKETS,
    Alive,
    Arm,
    Ask,
    Clear,
    Command,
    Condition,
    Disarm,
    Header,
    Hold,
    Info,
    Jog,
    Mode,
    Reason,
    Report,
    State,
    Stop,
    Verdict,
    WireError,
    decode,
    encode,
)

HEADER = Header(0x1122334455667788, 0x99AABBCCDDEEFF00, sent_ns=-1, basis_ns=0x0102030405060708, ttl_ms=200)

MESSAGES = {
    "Command": Command(Mode.ABSOLUTE, 0.25, tuple(number / 16 for number in range(-10, 10))),
    "Arm": Arm(bytes(range(32)), 2.0, 0.5),
    "Disarm": Disarm(),
    "Hold": Hold(Reason.TRACKING_LOST),
    "Stop": Stop(),
    "Clear": Clear(),
    "Alive": Alive(),
    "Jog": Jog(19, -0.125),
    "Ask": Ask(1),
    "Condition": Condition(
        State.RUNNING, Reason.NONE, Reason.OVER_TEMPERATURE, 1000, 2000, -3, 7, 4000, 0b101, 0.75, 40.5,
        tuple(number / 8 for number in range(24)), tuple(-number / 4 for number in range(24)),
        tuple(number / 2 for number in range(20)),
    ),
    "Report": Report(
        Verdict.STALE, State.HOLD, Reason.DEAD_MAN, 1 << 19, 9, -8, 7, tuple(float(n) for n in range(20))
    ),
    "Info": Info(b"\xff" * 32, b"dry", 5000000, 3, 10, 2, 3, 4, 5, tuple(range(BUCKETS))),
}  # fmt: skip

PAYLOADS = {
    "Command": 169, "Arm": 48, "Disarm": 0, "Hold": 1, "Stop": 0, "Clear": 0, "Alive": 0, "Jog": 9, "Ask": 1,
    "Condition": 607, "Report": 191, "Info": 290,
}  # fmt: skip
"""Bytes, as the module documents them."""

GOLDEN = {
    "Command": (
        "44544c310101c800887766554433221100ffeeddccbbaa99ffffffffffffffff080706050403020101000000000000d0"
        "3f000000000000e4bf000000000000e2bf000000000000e0bf000000000000dcbf000000000000d8bf000000000000d4"
        "bf000000000000d0bf000000000000c8bf000000000000c0bf000000000000b0bf0000000000000000000000000000b0"
        "3f000000000000c03f000000000000c83f000000000000d03f000000000000d43f000000000000d83f000000000000dc"
        "3f000000000000e03f000000000000e23fd156fc12"
    ),
    "Arm": (
        "44544c310102c800887766554433221100ffeeddccbbaa99ffffffffffffffff08070605040302010001020304050607"
        "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0000000000000040000000000000e03f58ea871e"
    ),
    "Disarm": "44544c310103c800887766554433221100ffeeddccbbaa99ffffffffffffffff080706050403020108b4d9f4",
    "Hold": ("44544c310104c800887766554433221100ffeeddccbbaa99ffffffffffffffff0807060504030201047b59f087"),
    "Stop": "44544c310105c800887766554433221100ffeeddccbbaa99ffffffffffffffff08070605040302017bce0e38",
    "Clear": "44544c310106c800887766554433221100ffeeddccbbaa99ffffffffffffffff080706050403020162f0ddb3",
    "Alive": "44544c310107c800887766554433221100ffeeddccbbaa99ffffffffffffffff0807060504030201aae7437c",
    "Jog": (
        "44544c310108c800887766554433221100ffeeddccbbaa99ffffffffffffffff080706050403020113000000000000c0"
        "bf62f9144e"
    ),
    "Ask": ("44544c310109c800887766554433221100ffeeddccbbaa99ffffffffffffffff080706050403020101d8901a2a"),
    "Condition": (
        "44544c310120c800887766554433221100ffeeddccbbaa99ffffffffffffffff0807060504030201020006e803000000"
        "000000d007000000000000fdffffffffffffff0700000000000000a00f00000000000005000000000000000000e83f00"
        "000000004044400000000000000000000000000000c03f000000000000d03f000000000000d83f000000000000e03f00"
        "0000000000e43f000000000000e83f000000000000ec3f000000000000f03f000000000000f23f000000000000f43f00"
        "0000000000f63f000000000000f83f000000000000fa3f000000000000fc3f000000000000fe3f000000000000004000"
        "000000000001400000000000000240000000000000034000000000000004400000000000000540000000000000064000"
        "000000000007400000000000000000000000000000d0bf000000000000e0bf000000000000e8bf000000000000f0bf00"
        "0000000000f4bf000000000000f8bf000000000000fcbf00000000000000c000000000000002c000000000000004c000"
        "000000000006c000000000000008c00000000000000ac00000000000000cc00000000000000ec000000000000010c000"
        "000000000011c000000000000012c000000000000013c000000000000014c000000000000015c000000000000016c000"
        "000000000017c00000000000000000000000000000e03f000000000000f03f000000000000f83f000000000000004000"
        "0000000000044000000000000008400000000000000c4000000000000010400000000000001240000000000000144000"
        "0000000000164000000000000018400000000000001a400000000000001c400000000000001e40000000000000204000"
        "0000000000214000000000000022400000000000002340d51148dc"
    ),
    "Report": (
        "44544c310121c800887766554433221100ffeeddccbbaa99ffffffffffffffff08070605040302010403030000080009"
        "00000000000000f8ffffffffffffff07000000000000000000000000000000000000000000f03f000000000000004000"
        "000000000008400000000000001040000000000000144000000000000018400000000000001c40000000000000204000"
        "000000000022400000000000002440000000000000264000000000000028400000000000002a400000000000002c4000"
        "00000000002e40000000000000304000000000000031400000000000003240000000000000334027e10d8d"
    ),
    "Info": (
        "44544c310122c800887766554433221100ffeeddccbbaa99ffffffffffffffff0807060504030201ffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffffffff0364727900000000000000000000000000404b4c00000000"
        "00030a000000000000000200000000000000030000000000000004000000000000000500000000000000000000000000"
        "000001000000000000000200000000000000030000000000000004000000000000000500000000000000060000000000"
        "00000700000000000000080000000000000009000000000000000a000000000000000b000000000000000c0000000000"
        "00000d000000000000000e000000000000000f0000000000000010000000000000001100000000000000120000000000"
        "0000130000000000000014000000000000001500000000000000160000000000000017000000000000009b566575"
    ),
}
"""Frames in hexadecimal: a program on another machine sends and expects just these."""


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


every_message = pytest.mark.parametrize("name", MESSAGES)


@every_message
def test_the_bytes_of_a_message_are_known(name):
    frame = encode(HEADER, MESSAGES[name])
    assert frame.hex() == GOLDEN[name]
    assert decode(bytes.fromhex(GOLDEN[name])) == (HEADER, MESSAGES[name])


def test_a_command_decoded_by_hand():
    frame = bytes.fromhex(GOLDEN["Command"])
    assert frame[:4] == b"DTL1"
    assert frame[4:6] == bytes((1, 1))  # version and kind
    assert struct.unpack_from("<H", frame, 6) == (200,)
    assert struct.unpack_from("<QQ", frame, 8) == (0x1122334455667788, 0x99AABBCCDDEEFF00)
    assert struct.unpack_from("<qq", frame, 24) == (-1, 0x0102030405060708)
    assert frame[40] == 1  # absolute
    assert struct.unpack_from("<d", frame, 41) == (0.25,)
    assert struct.unpack_from("<20d", frame, 49) == tuple(number / 16 for number in range(-10, 10))
    assert struct.unpack_from("<I", frame, 209) == (zlib.crc32(frame[:209]),)
    assert len(frame) == 213


@every_message
def test_sizes_are_those_documented(name):
    assert len(encode(HEADER, MESSAGES[name])) == 40 + PAYLOADS[name] + 4


def test_kinds_are_all_different():
    assert len({encode(HEADER, message)[5] for message in MESSAGES.values()}) == len(MESSAGES)


@every_message
def test_every_truncation_and_every_longer_frame_is_refused(name):
    frame = encode(HEADER, MESSAGES[name])
    for length in range(len(frame)):
        with pytest.raises(WireError):
            decode(frame[:length])
    with pytest.raises(WireError, match=f"{len(frame) + 1} bytes"):
        decode(frame + b"\0")


@every_message
def test_a_truncation_with_a_right_checksum_is_refused(name):
    frame = encode(HEADER, MESSAGES[name])
    for length in range(40, len(frame) - 4):
        with pytest.raises(WireError, match="bytes; it has"):
            decode(sealed(frame[:length]))


@every_message
def test_every_flipped_bit_is_refused(name):
    frame = bytearray(encode(HEADER, MESSAGES[name]))
    for bit in range(8 * len(frame)):
        frame[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode(bytes(frame))
        frame[bit // 8] ^= 1 << bit % 8
    assert decode(bytes(frame)) == (HEADER, MESSAGES[name])


def altered(position: int, value: int) -> bytes:
    body = bytearray(encode(HEADER, Stop())[:-4])
    body[position] = value
    return sealed(bytes(body))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_versions_are_refused_with_both_numbers(version):
    with pytest.raises(WireError, match=f"version {version}; this is version 1"):
        decode(altered(4, version))


@pytest.mark.parametrize("kind", [0, 10, 31, 35, 255])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(WireError, match=f"unknown kind {kind}"):
        decode(altered(5, kind))


def test_a_foreign_magic_is_refused():
    with pytest.raises(WireError, match="not ours"):
        decode(altered(0, ord("X")))


@pytest.mark.parametrize("frame", [b"", b"DTL1", b"\0" * 43, b"\xff" * 1000])
def test_garbage_is_refused(frame):
    with pytest.raises(WireError):
        decode(frame)


@given(st.binary(max_size=700))
def test_random_bytes_are_refused(frame):
    with pytest.raises(WireError):
        decode(frame)


def integers(bits: int, signed: bool = False) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


u8, u32, u64, i64, real = integers(8), integers(32), integers(64), integers(64, True), st.floats()


def several(count: int, each: st.SearchStrategy = real) -> st.SearchStrategy:
    return st.lists(each, min_size=count, max_size=count).map(tuple)


headers = st.builds(Header, u64, u64, i64, i64, integers(16))
messages = st.one_of(
    st.builds(Command, u8, real, several(20)),
    st.builds(Arm, st.binary(min_size=32, max_size=32), real, real),
    st.sampled_from([Disarm(), Stop(), Clear(), Alive()]),
    st.builds(Hold, u8),
    st.builds(Jog, u8, real),
    st.builds(Ask, u8),
    st.builds(
        Condition, u8, u8, u8, u64, i64, i64, u64, i64, u32, real, real, several(24), several(24), several(20)
    ),
    st.builds(Report, u8, u8, u8, u32, u64, i64, i64, several(20)),
    st.builds(
        Info, st.binary(min_size=32, max_size=32), st.binary(max_size=16), i64, u8, u64, u64, u64, u64, u64,
        several(BUCKETS, u64),
    ),
)  # fmt: skip


def bits(value):
    """A value with its floats' bits, of which NaN's and zero's signs count too."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


@settings(max_examples=300)
@given(headers, messages)
@example(Header(1, 1), Command(0, math.nan, (math.nan, math.inf, -math.inf, -0.0) * 5))
def test_every_message_survives_the_way_bit_for_bit(header, message):
    arrived_header, arrived = decode(encode(header, message))
    assert arrived_header == header
    assert type(arrived) is type(message)
    assert bits(arrived) == bits(message)


@given(headers, messages, st.data())
def test_no_two_messages_share_a_frame(header, message, data):
    other = data.draw(messages)
    if (type(other), bits(other)) != (type(message), bits(message)):
        assert encode(header, message) != encode(header, other)


def test_nan_passes_the_wire_for_the_safety_machine_to_refuse():
    _, arrived = decode(encode(HEADER, Jog(0, math.nan)))
    assert isinstance(arrived, Jog)
    assert math.isnan(arrived.delta)


good = MESSAGES


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (good["Command"]._replace(action=(0.0,) * 19), "action of 19: it has 20"),
        (good["Command"]._replace(action=(0.0,) * 21), "action of 21: it has 20"),
        (good["Command"]._replace(action=0.0), "Command"),
        (good["Command"]._replace(action=("a",) * 20), "Command"),
        (good["Command"]._replace(mode=256), "Command"),
        (good["Command"]._replace(mode=-1), "Command"),
        (good["Arm"]._replace(table=b"\0" * 31), "table of 31: it has 32"),
        (good["Arm"]._replace(table=b"\0" * 33), "table of 33: it has 32"),
        (good["Arm"]._replace(table="a" * 32), "Arm"),
        (good["Arm"]._replace(velocity=10**400), "Arm"),
        (good["Arm"]._replace(velocity=None), "Arm"),
        (good["Condition"]._replace(angles=(0.0,) * 25, velocities=(0.0,) * 23), "angles of 25: it has 24"),
        (good["Condition"]._replace(slowed=1 << 32), "Condition"),
        (good["Info"]._replace(backend=b"seventeen letters"), "backend of 17: it has 16"),
        (good["Info"]._replace(lateness=(0,) * 23), "lateness of 23"),
        (good["Info"]._replace(ticks=-1), "Info"),
    ],
)
def test_what_does_not_fit_is_not_sent(message, what):
    with pytest.raises(WireError, match=what):
        encode(HEADER, message)


@pytest.mark.parametrize(
    "header",
    [Header(-1, 0), Header(1 << 64, 0), Header(0, -1), Header(0, 0, ttl_ms=65536), Header(0, 0, 1 << 63)],
)
def test_headers_that_do_not_fit_are_not_sent(header):
    with pytest.raises(WireError, match="cannot send this Stop"):
        encode(header, Stop())
