"""Records come back as they were written, as far as they were written, and nothing else is read as one."""

import base64
import io
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from PIL import Image

from hardware.records import mcap_file
from hardware.records.mcap_file import Record, RecordError, read_record

BETWEEN = 50
"""Messages of the record that is cut."""

WRITER = """
import sys
from pathlib import Path
from hardware.records.mcap_file import Record
record = Record(Path(sys.argv[1]))
for step in range(10**9):
    record.write("observation", step=step, numbers=[step / 3] * 50)
    print(step, flush=True)
"""

FULL = """
import resource, sys
from pathlib import Path
from hardware.records.mcap_file import Record, RecordError
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
record = Record(Path(sys.argv[1]))
written = 0
try:
    while True:
        record.write("observation", step=written, numbers=[written / 3] * int(sys.argv[2]))
        written += 1
except RecordError as error:
    print(written, error, sep="|")
for last in (lambda: record.write("interruption", why="no room"), record.close):
    try:
        last()
    except RecordError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A record of two topics, and where each of its messages ends in the file."""
    path = tmp_path_factory.mktemp("records") / "whole.mcap"
    record = Record(path)
    ends = []
    for step in range(BETWEEN):
        record.write("ab"[step % 2], step=step, word="naïve ☃")
        ends.append(path.stat().st_size)
    record.close()
    return path, ends


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_floats_come_back_bit_for_bit(tmp_path_factory, double, single):
    path = tmp_path_factory.mktemp("floats") / "r.mcap"
    record = Record(path)
    record.write("numbers", double=double, single=single)
    record.close()
    fields = read_record(path)[0][0].fields
    assert np.float64(fields["double"]).tobytes() == np.float64(double).tobytes()
    assert np.float32(fields["single"]).tobytes() == np.float32(single).tobytes()


def read_or_refuse(path):
    """A record that may have lost even its head: nothing then."""
    try:
        return read_record(path)
    except RecordError:
        return [], False


def test_what_is_not_finite_is_null(tmp_path):
    record = Record(tmp_path / "r.mcap")
    record.write("targets", nested={"a": (1, math.nan, -math.inf)}, none=None, flag=True, word="ä")
    record.close()
    entries, complete = read_record(tmp_path / "r.mcap")
    assert complete
    assert entries[0].fields == {"nested": {"a": [1, None, None]}, "none": None, "flag": True, "word": "ä"}


def test_another_reader_opens_it(whole):
    path, _ = whole
    with path.open("rb") as file:
        seen = [
            (channel.topic, schema.name, json.loads(message.data)["step"])
            for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages()
        ]
    assert seen == [("ab"[step % 2], f"dactyl_tl.{'ab'[step % 2]}", step) for step in range(BETWEEN)]


def test_a_record_that_was_cut_anywhere_gives_every_message_before_the_cut(whole, tmp_path):
    path, ends = whole
    data = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        entries, complete = read_or_refuse(cut)
        assert not complete
        assert len(entries) == sum(end <= length for end in ends)


def test_a_flipped_bit_is_noticed(whole, tmp_path):
    path, ends = whole
    data = bytearray(path.read_bytes())
    flipped = tmp_path / "flipped.mcap"
    for place in range(8, ends[-1], 7):
        changed = bytearray(data)
        changed[place] ^= 1
        flipped.write_bytes(changed)
        assert not read_or_refuse(flipped)[1], place


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not this", os.urandom(4096), b"\x89MCAP0\r\n"])
def test_other_files_are_no_records(tmp_path, content):
    path = tmp_path / "other.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"other\.mcap is no record"):
        read_record(path)
    with pytest.raises(RecordError, match=r"cannot read .*absent.mcap: No such file"):
        read_record(tmp_path / "absent.mcap")


def test_a_killed_process_loses_no_message_that_it_had_written(tmp_path):
    path = tmp_path / "r.mcap"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 200:
                break
        process.send_signal(signal.SIGKILL)
        told = [line for line in process.stdout.read().split("\n") if line]
    entries, complete = read_record(path)
    assert not complete
    assert [entry.fields["step"] for entry in entries] == list(range(len(entries)))
    assert len(entries) > int(told[-2] if len(told) > 1 else line)


@pytest.mark.parametrize("numbers", [20, 2000], ids=["small", "larger than a buffer"])
def test_a_full_disk_is_told_and_keeps_what_came_before(tmp_path, numbers):
    path = tmp_path / "r.mcap"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(numbers)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *later = done.stdout.splitlines()
    written, words = first.split("|")
    assert "cannot record to" in words
    assert "File too large" in words
    assert [line.split(" takes ")[1][:16] for line in later] == ["no more messages"] * 2
    entries, complete = read_record(path)
    assert not complete
    assert [entry.fields["step"] for entry in entries] == list(range(int(written)))


def test_no_record_is_begun_where_there_is_no_room_or_one_already(tmp_path, monkeypatch):
    Record(tmp_path / "new" / "r.mcap").close()
    with pytest.raises(RecordError, match="File exists"):
        Record(tmp_path / "new" / "r.mcap")
    monkeypatch.setattr(mcap_file, "RESERVE", 10**18)
    with pytest.raises(RecordError, match=r"MB left; a trial needs 1000000000000 MB"):
        Record(tmp_path / "full.mcap")
    assert not (tmp_path / "full.mcap").exists()


def test_pictures_are_read_on_request_only(tmp_path):
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)
    picture = np.stack(
        [np.tile(ramp, (480, 1)), np.full((480, 640), 90, np.uint8), np.tile(ramp[::-1], (480, 1))], -1
    )
    record = Record(tmp_path / "r.mcap")
    record.write("observation", step=0)
    record.picture("camera:left", picture)
    record.write("observation", step=1)
    record.close()
    assert [entry.topic for entry in read_record(tmp_path / "r.mcap")[0]] == ["observation"] * 2
    left = read_record(tmp_path / "r.mcap", pictures=True)[0][1]
    assert (left.topic, left.fields["frame_id"], left.fields["format"]) == (
        "camera:left",
        "camera:left",
        "jpeg",
    )
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(left.fields["data"]))), dtype=int)
    assert np.abs(seen - picture).max() <= 4  # grey values of 255
