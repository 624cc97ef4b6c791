"""Who stands beside the hand: a person at a pseudo-terminal, and the simulated laboratory's."""

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import zmq

from hardware.errors import HardwareError
from hardware.operators import TwinOperator

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, time
from hardware.errors import HardwareError
from hardware.operators import TerminalOperator
operator, calls = TerminalOperator(), []
try:
    operator.prepare(3)
    {body}
except HardwareError as error:
    print("error:", error)
operator.close()
"""
PATIENCE = 30.0


class Terminal:
    """A person's end of a terminal at which a program runs."""

    def __init__(self, body: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(body=body)],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, words: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert time.monotonic() < deadline, f"no {words!r} in {self.seen!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._master, 4096).decode()
                except OSError:  # the program has ended
                    break
        assert words in self.seen, self.seen
        return self.seen

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def terminal():
    opened = []

    def begin(body: str) -> Terminal:
        opened.append(Terminal(body))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


HAND_OVER = "operator.hand_over(lambda: calls.append(time.monotonic())); operator.begin()"


def test_the_object_is_waited_for_while_the_hand_is_kept_alive(terminal):
    person = terminal(
        HAND_OVER + "; gaps = [b - a for a, b in zip(calls, calls[1:])]"
        "; print('handed over', len(calls), max(gaps), 's then')"
    )
    person.read_until("press Enter")
    time.sleep(0.4)
    person.type("\n")
    count, gap = person.read_until("s then").split("handed over")[1].split()[:2]
    assert int(count) >= 4
    assert float(gap) < 1.0, "every 20 ms, if this machine is not busy"


def test_an_enter_that_was_typed_before_the_question_is_not_its_answer(terminal):
    person = terminal(
        "import select; print('wait', flush=True); select.select([0], [], []); "
        + HAND_OVER
        + "; print('over')"
    )
    person.read_until("wait")
    person.type("\n\n")
    person.read_until("press Enter. ")
    assert not select.select([person._master], [], [], 0.3)[0], "it waits"
    person.type("\n")
    person.read_until("over")


@pytest.mark.parametrize(
    ("body", "question"),
    [
        ("print('it is', operator.dropped())", "Has it fallen off the hand? [y/n]"),
        ("print('it is', operator.go_on('the cable came off'))", "Repeat this trial? [y/n]"),
    ],
)
@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("  N\n", False), ("what\n\nyes\ny\n", True)])
def test_questions_are_asked_until_they_are_answered(terminal, body, question, typed, answer):
    person = terminal(body)
    person.read_until(question)
    person.type(typed)
    person.read_until(f"it is {answer}")
    assert person.seen.count(question) == typed.count("\n")
    if "go_on" in body:
        assert "Interrupted: the cable came off" in person.seen


@pytest.mark.parametrize("body", ["operator.hand_over(lambda: None)", "operator.go_on('x')"])
def test_where_nobody_is_it_says_so(body):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "error: nobody is at the terminal" in done.stdout
    assert "Traceback" not in done.stderr


# The twin's


class Answers:
    """Answers requests as a twin hand does, from a table."""

    def __init__(self, **table) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("tcp://127.0.0.1:*")
        self.address = self._socket.last_endpoint.decode()
        self.asked, self._table = [], table
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ending = threading.Event()
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            if self._socket.poll(50):
                request = json.loads(self._socket.recv())
                self.asked.append(request)
                self._socket.send(json.dumps(self._table.get(request["do"], {"error": "cannot"})).encode())

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._context.destroy(linger=0)


@pytest.fixture
def twin():
    answers = Answers(place={}, release={}, state={"object_position": [0.0, 0.0, -0.2]})
    yield answers
    answers.close()


def test_the_simulated_operator_places_and_releases(twin):
    operator = TwinOperator(twin.address)
    operator.prepare(7)
    operator.hand_over(lambda: None)
    operator.begin()
    assert twin.asked == [{"do": "place", "seed": 7}, {"do": "release"}]
    assert operator.dropped()
    operator.close()


def test_it_goes_on_as_often_as_it_has_attempts(twin, capsys):
    operator = TwinOperator(twin.address, attempts=2)
    assert [operator.go_on("the cable") for _ in range(4)] == [True, True, False, False]
    assert capsys.readouterr().err.count("Interrupted: the cable") == 4
    operator.close()


def test_errors_of_the_twin_and_its_silence_are_told(twin, monkeypatch):
    monkeypatch.setattr("hardware.operators.ANSWERING", 300)
    operator = TwinOperator(twin.address)
    with pytest.raises(HardwareError, match="twin hand: cannot"):
        operator.ask(do="dance")
    operator.close()
    alone = TwinOperator("tcp://127.0.0.1:1")
    for _ in range(2):  # also after a question that nobody answered
        with pytest.raises(HardwareError, match=r"the twin hand does not answer at tcp://127\.0\.0\.1:1"):
            alone.begin()
    alone.close()
