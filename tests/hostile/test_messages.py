"""Bytes from a target's process are an answer, or the target is lost."""

import contextlib
import json
import os
import pickle
import socket
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.isolation.messages import (
    HEADER,
    MAGIC,
    Channel,
    PeerEndedError,
    ProtocolError,
)
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions
from gatecheck.implementation.plain import Opaque, UnreadArray

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

FORWARD = "forward_within_budget"

TARGET = """
import json, os, pickle, signal, socket, stat, struct, threading, time
import numpy as np

def ends():
    for entry in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                yield int(entry)
        except OSError:
            pass

def send(content):
    for end in ends():
        os.write(end, content)

def header(number, text, size=0):
    return struct.pack("<4sQQQ", b"gck2", number, text, size)

def message(number, value, size=0):
    text = json.dumps(value).encode()
    return header(number, len(text), size) + text

def reply(number, name, value):
    return message(number, {"d": [[name, value], ["warnings", []]]})

def flood():
    while True:
        send(bytes(9999))

class Evil:
    def __reduce__(self):
        return os.system, ("touch EVIL",)

class Mine:
    cell = "rnn"
    convention = "canonical"
    calls = 0

    def forward(self, params, x, h0, c0=None):
        self.calls += 1
        ATTACK
        h = np.zeros((x.shape[1], len(params["U"])), x.dtype) if h0 is None else h0.copy()
        y = np.zeros((*x.shape[:2], len(params["U"])), x.dtype)
        for t in range(len(x)):
            h = y[t] = np.tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
        return 1.01 * y, h
"""

ATTACKS = {
    "a pickle": "send(pickle.dumps(Evil()))",
    "a pickle as an answer": "send(header(self.calls, 40) + pickle.dumps(Evil())[:40])",
    "zeros": "send(bytes(4096))",
    "half a message": "send(message(self.calls, {})[:20]); time.sleep(100)",
    "half a header": "send(b'gck2'); os._exit(0)",
    "a promise of arrays": "send(message(self.calls, {}, 2**31)); time.sleep(100)",
    "a message of 2**60 bytes": "send(header(self.calls, 2**60, 2**60))",
    "a forged answer": "send(reply(self.calls, 'answer', {'t': [None, None, [], False, False]}))",
    "an answer twice": "send(reply(self.calls, 'answer', [3, None, [], False, False]) * 2)",
    "an answer of another call": "send(message(self.calls + 5, {'d': []}))",
    "a failure of no kind": "send(reply(self.calls, 'failure', ['SystemExit', 'x']))",
    "a failure that is a list": "send(reply(self.calls, 'failure', [[[]]]))",
    "deep JSON": "send(header(self.calls, 200000) + b'[' * 200000)",
    "a large integer": "send(header(self.calls, 9000) + b'9' * 9000)",
    "a closed connection": "[os.close(end) for end in list(ends())]; time.sleep(100)",
    "no end of answers": "threading.Thread(target=flood).start()",
    "a stop in a call": "os.kill(os.getpid(), signal.SIGSTOP)",
    "a stop while idle": "threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGSTOP)).start()",
    "an end while idle": "threading.Timer(0.05, os._exit, (7,)).start()",
}


@linux
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_the_connection_loses_the_target(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gatecheck.auditing.isolation.process.STARTUP_TIMEOUT_S", 4)
    (tmp_path / "mine.py").write_text(TARGET.replace("ATTACK", ATTACKS[attack]))
    start = time.monotonic()
    with Isolation(timeout=2) as process, open_target(process, "mine.py:Mine") as mine:
        result = run_audit(mine, AuditOptions("quick", (FORWARD,), diagnose=False))
    (found,) = result.properties
    assert found.outcome in ("failed", "crashed", "timed_out"), found
    assert not {"bug in gatecheck", "Traceback"} & {*found.reason.splitlines()}
    assert not (tmp_path / "EVIL").exists()
    assert time.monotonic() - start < 40


# ---- messages by themselves


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


VALUES = [
    None,
    [1, 2.5, float("inf"), "text", True],
    {"a": np.arange(6.0).reshape(2, 3), "b": ()},
    (np.zeros((0, 3), "f4"), np.array(1 + 2j), np.array([True])),
    {"o": Opaque("a thing"), "u": UnreadArray((3,), "object")},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_plain_data_arrives_as_it_was(ends, value):
    channel, theirs = ends
    Channel(theirs).send(value)
    arrived = channel.receive(time.monotonic() + 5)
    assert repr(arrived) == repr(value)


def test_arrays_that_arrive_are_independent(ends):
    channel, theirs = ends
    sender = Channel(theirs)
    sender.send([np.ones(3), np.ones(3)])
    first, second = channel.receive(time.monotonic() + 5)
    sender.send([np.zeros(3), np.zeros(3)])
    channel.receive(time.monotonic() + 5)
    first[:] = 7
    assert second.tolist() == [1, 1, 1]
    assert first.flags.owndata
    assert first.flags.writeable


def test_a_large_message_takes_as_long_as_it_needs(ends):
    channel, theirs = ends
    large = np.random.default_rng(0).normal(size=3_000_000)
    sender = threading.Thread(target=Channel(theirs).send, args=([large],))
    sender.start()
    (arrived,) = channel.receive(time.monotonic() + 30)
    sender.join()
    np.testing.assert_array_equal(arrived, large)


def test_one_deadline_covers_a_message_that_trickles(ends):
    channel, theirs = ends

    def trickle():
        with contextlib.suppress(OSError):
            for byte in HEADER.pack(MAGIC, 0, 10, 0):
                theirs.send(bytes([byte]))
                time.sleep(0.1)

    threading.Thread(target=trickle, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.receive(start + 0.5)
    assert time.monotonic() - start < 2


def test_a_request_that_is_not_read_times_out(ends):
    channel, _ = ends
    with pytest.raises(TimeoutError):
        channel.send_request(bytes(10_000_000), time.monotonic() + 0.3)


def test_the_end_of_the_other_process_is_noticed_though_another_holds_its_socket():
    ours, theirs = socket.socketpair()
    end, signal = os.pipe()
    channel = Channel(ours, end)
    os.write(signal, b"x")
    with pytest.raises(PeerEndedError):
        channel.receive(time.monotonic() + 5)
    for each in (ours, theirs):
        each.close()
    os.close(end)
    os.close(signal)


def packed(text, arrays=b""):
    return HEADER.pack(MAGIC, 0, len(text), len(arrays)) + text + arrays


BAD = [
    packed(b'{"a": ["<f8", 3]}'),
    packed(b'{"a": ["<f8", -1]}', bytes(64)),
    packed(b'{"a": ["<f8", 1152921504606846976, 16]}', bytes(64)),
    packed(b'{"a": ["|O", 1]}', bytes(64)),
    packed(b'{"a": ["V8", 1]}', bytes(64)),
    packed(b'{"a": [3, 1]}', bytes(64)),
    packed(b'{"a": []}'),
    packed(b'{"c": 1}'),
    packed(b'{"a": ["<f8"], "t": []}', bytes(64)),
    packed(b"{}"),
    packed(b'{"d": [[1, 2]]}'),
    packed(b'{"d": 3}'),
    packed(b'{"u": ["x", "y"]}'),
    packed(b"\xff\xfe"),
    packed(b"[" * 100_000),
    packed(b"1" * 10_000),
    b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
    pickle.dumps({"a": 1}) + bytes(100),
    HEADER.pack(MAGIC, 1, 0, 0),
    HEADER.pack(MAGIC, 0, 2**40, 0),
    HEADER.pack(MAGIC, 0, 0, 2**40),
]


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_bytes_that_are_no_message_are_a_protocol_error(ends, content):
    channel, theirs = ends
    theirs.sendall(content)
    with pytest.raises(ProtocolError):
        channel.receive(time.monotonic() + 5)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=64))
def test_any_json_is_read_or_refused(text, arrays):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(packed(text, arrays))
        try:
            Channel(ours).receive(time.monotonic() + 5)
        except ProtocolError:
            return
        json.loads(text)
