"""Real sockets: who gets through and who does not, what is queued for nobody, and the files of keys."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq
import zmq.auth
from zmq.utils.monitor import recv_monitor_message

from hardware.__main__ import main
from hardware.lowlevel.sockets import (
    LARGEST,
    KeyFileError,
    Keys,
    check_secured,
    guard,
    is_local,
    join,
    load_pair,
    load_public,
    make_keys,
    newest,
    prepare,
    serve,
)

PATIENCE = 20.0
"""s for what happens within milliseconds on a machine that is not busy."""

ROOT = Path(__file__).parents[3]

ANYWHERE = "tcp://127.0.0.1:*"

REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def keys(tmp_path):
    """Pairs of a server, a client that is allowed and one that is not; the directory of those allowed."""
    for name in ("server", "client", "stranger"):
        make_keys(str(tmp_path), name)
    (tmp_path / "allowed").mkdir()
    (tmp_path / "client.key").rename(tmp_path / "allowed" / "client.key")
    return tmp_path


@pytest.fixture
def guarded(context, keys):
    """A PULL socket with keys, its address and its monitor."""
    server_keys = Keys(str(keys / "server.key_secret"), str(keys / "allowed"))
    authenticator = guard(context, server_keys)
    socket = context.socket(zmq.PULL)
    monitor = socket.get_monitor_socket()
    yield serve(socket, ANYWHERE, server_keys), socket.last_endpoint.decode(), monitor
    socket.disable_monitor()
    socket.close()
    authenticator.stop()


def client_keys(keys, name: str = "client", server: str = "server.key") -> Keys:
    return Keys(str(keys / f"{name}.key_secret"), str(keys / server))


def receive(socket: zmq.Socket) -> bytes:
    assert socket.poll(1000 * PATIENCE), "nothing arrived"
    return socket.recv(zmq.NOBLOCK)


def send(socket: zmq.Socket, frame: bytes) -> None:
    """Send once there is somebody to send to."""
    assert socket.poll(1000 * PATIENCE, zmq.POLLOUT), "nobody to send to"
    socket.send(frame, zmq.NOBLOCK)


def wait_for_event(monitor: zmq.Socket, events: tuple[int, ...]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if monitor.poll(100) and recv_monitor_message(monitor)["event"] in events:
            return
    pytest.fail("the event did not happen")


def find_nobody(socket: zmq.Socket, frame: bytes) -> None:
    """See that a frame is not even queued."""
    with pytest.raises(zmq.Again):
        socket.send(frame, zmq.NOBLOCK)


# Who gets through


def test_a_client_that_is_allowed_gets_through(context, keys, guarded):
    server, address, _ = guarded
    send(join(context.socket(zmq.PUSH), address, client_keys(keys)), b"here I am")
    assert receive(server) == b"here I am"


def wrong_pair(context, keys, address):
    return join(context.socket(zmq.PUSH), address, client_keys(keys, "stranger"))


def wrong_server(context, keys, address):
    return join(context.socket(zmq.PUSH), address, client_keys(keys, server="stranger.key"))


def plaintext(context, keys, address):
    return join(context.socket(zmq.PUSH), address, None)


def plaintext_that_queues(context, keys, address):
    socket = context.socket(zmq.PUSH)  # as a careless client would
    socket.connect(address)
    return socket


def a_password(context, keys, address):
    socket = prepare(context.socket(zmq.PUSH))
    socket.plain_username, socket.plain_password = b"admin", b"admin"
    socket.connect(address)
    return socket


@pytest.mark.parametrize("intruder", [wrong_pair, wrong_server, plaintext, plaintext_that_queues, a_password])
def test_nobody_else_gets_through(context, keys, guarded, intruder):
    server, address, monitor = guarded
    other = zmq.Context()  # another process's, as far as authentication goes
    try:
        socket = intruder(other, keys, address)
        if intruder is plaintext_that_queues:
            socket.send(b"let me in", zmq.NOBLOCK)
        wait_for_event(monitor, REFUSED)
        if intruder is not plaintext_that_queues:
            find_nobody(socket, b"let me in")
        good = join(context.socket(zmq.PUSH), address, client_keys(keys))
        for number in range(20):
            send(good, b"good %d" % number)
        assert [receive(server) for _ in range(20)] == [b"good %d" % number for number in range(20)]
        assert not server.poll(0)
    finally:
        other.destroy(linger=0)


def test_nobody_else_hears_what_is_published(context, keys):
    server_keys = Keys(str(keys / "server.key_secret"), str(keys / "allowed"))
    authenticator = guard(context, server_keys)
    publisher = context.socket(zmq.PUB)
    monitor = publisher.get_monitor_socket()
    address = serve(publisher, ANYWHERE, server_keys).last_endpoint.decode()
    intruder = join(newest(context.socket(zmq.SUB)), address, client_keys(keys, "stranger"))
    wait_for_event(monitor, REFUSED)
    listener = join(newest(context.socket(zmq.SUB)), address, client_keys(keys))
    deadline = time.monotonic() + PATIENCE
    while not listener.poll(20) and time.monotonic() < deadline:
        publisher.send(b"secret")
    assert receive(listener) == b"secret"
    assert not intruder.poll(0)
    publisher.disable_monitor()
    publisher.close()
    authenticator.stop()


def test_while_nobody_guards_nobody_gets_through(context, keys):
    """ZeroMQ's own default is to let in whoever knows the server's public key."""
    socket = context.socket(zmq.PULL)
    monitor = socket.get_monitor_socket()
    serve(socket, ANYWHERE, Keys(str(keys / "server.key_secret"), str(keys / "allowed")))
    client = join(context.socket(zmq.PUSH), socket.last_endpoint.decode(), client_keys(keys))
    wait_for_event(monitor, REFUSED)
    find_nobody(client, b"let me in")
    assert not socket.poll(0)
    socket.disable_monitor()


def test_a_client_does_not_talk_to_a_server_without_keys(context, keys):
    server = context.socket(zmq.PULL)
    monitor = server.get_monitor_socket()
    address = serve(server, ANYWHERE, None).last_endpoint.decode()
    client = join(context.socket(zmq.PUSH), address, client_keys(keys))
    wait_for_event(monitor, REFUSED)
    find_nobody(client, b"a secret")
    assert not server.poll(0)
    server.disable_monitor()


def test_frames_that_are_too_large_do_not_arrive(context):
    server = context.socket(zmq.PULL)
    monitor = server.get_monitor_socket()
    address = serve(server, ANYWHERE, None).last_endpoint.decode()
    client = join(context.socket(zmq.PUSH), address, None)
    send(client, bytes(LARGEST))
    assert len(receive(server)) == LARGEST
    send(client, bytes(LARGEST + 1))
    wait_for_event(monitor, (zmq.EVENT_DISCONNECTED,))
    another = join(context.socket(zmq.PUSH), address, None)
    send(another, b"small")
    assert receive(server) == b"small"
    server.disable_monitor()


# What is queued, and for whom


def test_nothing_is_queued_for_a_peer_that_was_never_there(context, tmp_path):
    address = f"ipc://{tmp_path / 'socket'}"
    client = join(context.socket(zmq.DEALER), address, None)
    find_nobody(client, b"before")
    server = serve(context.socket(zmq.ROUTER), address, None)
    send(client, b"after")
    assert server.poll(1000 * PATIENCE)
    assert server.recv_multipart()[1:] == [b"after"]
    assert not server.poll(0)


def fill_until_refused(client: zmq.Socket) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.send(b"to nobody", zmq.NOBLOCK)
        except zmq.Again:
            return
        time.sleep(0.01)
    pytest.fail("messages are still queued for a peer that is gone")


def test_nothing_is_queued_for_a_peer_that_went(context, tmp_path):
    address = f"ipc://{tmp_path / 'socket'}"
    client = join(context.socket(zmq.DEALER), address, None)
    server = serve(context.socket(zmq.ROUTER), address, None)
    send(client, b"first")
    assert server.poll(1000 * PATIENCE)
    server.close()
    fill_until_refused(client)
    server = serve(context.socket(zmq.ROUTER), address, None)
    send(client, b"after")
    assert server.poll(1000 * PATIENCE)
    assert server.recv_multipart()[1:] == [b"after"]


SERVER = """
import sys, zmq
from hardware.lowlevel.sockets import serve
socket = serve(zmq.Context().socket(zmq.PULL), sys.argv[1], None)
print("ready", flush=True)
while True:
    socket.recv()
"""


def test_a_peer_that_hangs_is_given_up(context, tmp_path):
    address = f"ipc://{tmp_path / 'socket'}"
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, address], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            client = context.socket(zmq.PUSH)
            monitor = client.get_monitor_socket()
            join(client, address, None)
            send(client, b"hello")
            process.send_signal(signal.SIGSTOP)
            wait_for_event(monitor, (zmq.EVENT_DISCONNECTED,))
            client.disable_monitor()
        finally:
            process.kill()


def test_the_newest_state_alone_is_kept(context):
    publisher = serve(context.socket(zmq.PUB), ANYWHERE, None)
    listener = join(newest(context.socket(zmq.SUB)), publisher.last_endpoint.decode(), None)
    deadline = time.monotonic() + PATIENCE
    while not listener.poll(20) and time.monotonic() < deadline:
        publisher.send(b"0")
    for number in range(1, 501):
        publisher.send(b"%d" % number)
    seen = []
    while not seen or seen[-1] != 500:
        time.sleep(0.1)  # a slow reader
        seen.append(int(receive(listener)))
    assert seen == sorted(seen)
    assert len(seen) < 100
    assert not listener.poll(0)


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:5751",
        "tcp://127.9.9.9:*",
        "tcp://[::1]:5751",
        "tcp://localhost:1",
        "ipc://x",
        "inproc://x",
    ],
)
def test_addresses_of_this_machine_need_no_keys(address):
    assert is_local(address)
    check_secured(address, None)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://*:5751",
        "tcp://0.0.0.0:5751",
        "tcp://[::]:5751",
        "tcp://192.168.1.2:5751",
        "tcp://hand.example.org:5751",
        "tcp://127.0.0.1.example.org:5751",
        "tcp://127.example.org:5751",
        "tcp://localhost.example.org:5751",
        "tcp://127.0.0.1:0;192.168.1.2:5751",  # ZeroMQ's way to name the source
        "tcp://127.0.0.1:0;localhost:5751",
        "tcp://eth0:5751",
        "tcp://127.0.0.1",
        "ws://127.0.0.1:80",
        "udp://127.0.0.1:80",
        "127.0.0.1:5751",
        "",
    ],
)
def test_other_addresses_do(context, address):
    for use in (serve, join):
        socket = context.socket(zmq.DEALER)
        with pytest.raises(KeyFileError, match="can be reached from other machines"):
            use(socket, address, None)
        assert socket.last_endpoint == b""  # neither bound nor connected


def test_with_keys_other_machines_may_be_reached(keys):
    check_secured("tcp://*:5751", client_keys(keys))


# Files of keys


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_secret_that_others_may_read_is_refused(keys, context, mode):
    path = keys / "client.key_secret"
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"client.key_secret .mode {mode:o}.*chmod 600"):
        load_pair(str(path))
    for use, address in ((join, "tcp://127.0.0.1:9"), (serve, ANYWHERE)):
        with pytest.raises(KeyFileError, match="others may read"):
            use(context.socket(zmq.DEALER), address, client_keys(keys))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_its_owner_s_is_used(keys, mode):
    (keys / "client.key_secret").chmod(mode)
    public, secret = load_pair(str(keys / "client.key_secret"))
    assert zmq.curve_public(secret) == public == load_public(str(keys / "allowed" / "client.key"))


def test_missing_files_are_named(keys, tmp_path):
    for load in (load_pair, load_public):
        with pytest.raises(KeyFileError, match=r"nothing\.key: No such file"):
            load(str(tmp_path / "nothing.key"))
    with pytest.raises(KeyFileError, match="nowhere: No such file"):
        guard(zmq.Context.instance(), Keys(str(keys / "server.key_secret"), str(tmp_path / "nowhere")))


def test_a_directory_without_public_keys_allows_nobody(keys, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "client.key_secret").write_text("")
    with pytest.raises(KeyFileError, match="nobody is allowed"):
        guard(zmq.Context.instance(), Keys(str(keys / "server.key_secret"), str(empty)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "No public key"),
        (b"\xff\xfe\x00", "No public key"),
        (b'curve\n    public-key = "short"\n', "40 characters of Z85, not 5"),
        (b'curve\n    public-key = "' + b"~" * 40 + b'"\n', "40 characters of Z85"),
        (
            b'curve\n    public-key = "PUBLIC"\n    secret-key = "x"\n',
            "40 characters of Z85, not 1",
        ),
    ],
)
def test_what_is_no_key_is_refused(keys, content, why):
    path = keys / "allowed" / "broken.key"
    path.write_bytes(content.replace(b"PUBLIC", zmq.curve_keypair()[0]))
    path.chmod(0o600)
    for load in (load_pair, load_public):
        with pytest.raises(KeyFileError, match=rf"broken\.key is no key: .*{why}"):
            load(str(path))
    with pytest.raises(KeyFileError, match=r"broken\.key"):
        guard(zmq.Context.instance(), Keys(str(keys / "server.key_secret"), str(keys / "allowed")))


def test_a_public_key_is_no_pair_and_a_pair_no_public_key(keys):
    (keys / "server.key").chmod(0o600)
    with pytest.raises(KeyFileError, match=r"server\.key holds no secret key"):
        load_pair(str(keys / "server.key"))
    with pytest.raises(KeyFileError, match=r"server\.key_secret holds a secret key.*never this one"):
        load_public(str(keys / "server.key_secret"))


def test_a_pair_of_two_keys_that_do_not_belong_together_is_refused(keys):
    path = keys / "client.key_secret"
    public = load_public(str(keys / "server.key")).decode()
    lines = [
        f'    public-key = "{public}"' if "public" in line else line for line in path.read_text().split("\n")
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(KeyFileError, match="not that of its secret key"):
        load_pair(str(path))


# Making keys


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_secret_is_its_owner_s_from_its_first_moment_on(tmp_path, monkeypatch, umask):
    born = {}
    create = os.open

    def watched(path, flags, mode=0o777, **more):
        descriptor = create(path, flags, mode, **more)
        if str(path).startswith(str(tmp_path)):
            born[os.path.basename(path)] = stat.S_IMODE(os.fstat(descriptor).st_mode)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(umask)
    try:
        make_keys(str(tmp_path / "keys"), "hand")
    finally:
        os.umask(before)
    assert born == {"hand.key": 0o644 & ~umask, "hand.key_secret": 0o600}
    assert stat.S_IMODE((tmp_path / "keys" / "hand.key_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_pairs_are_different_and_zeromq_reads_them(tmp_path):
    public, pair = make_keys(str(tmp_path), "one")
    assert (public, pair) == (str(tmp_path / "one.key"), str(tmp_path / "one.key_secret"))
    assert zmq.auth.load_certificate(pair) == load_pair(pair)
    assert zmq.auth.load_certificate(public) == (load_public(public), None)
    assert load_pair(pair)[0] == load_public(public)
    assert load_pair(make_keys(str(tmp_path), "two")[1]) != load_pair(pair)


@pytest.mark.parametrize("there", ["hand.key", "hand.key_secret"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).write_text("precious")
    with pytest.raises(KeyFileError, match=f"{there}'"):
        make_keys(str(tmp_path), "hand")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "precious"}


@pytest.mark.parametrize("there", ["hand.key", "hand.key_secret"])
def test_nothing_is_written_through_a_link(tmp_path, there):
    (tmp_path / there).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="File exists"):
        make_keys(str(tmp_path), "hand")
    assert [path.name for path in tmp_path.iterdir()] == [there]


@pytest.mark.parametrize("name", ["", "../hand", "a/b", "hand.key", "a b", ".", "hand\n", "händ"])
def test_names_are_names_of_files(tmp_path, name):
    with pytest.raises(KeyFileError, match="no name for keys"):
        make_keys(str(tmp_path), name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_which_file_goes_where(tmp_path, capsys):
    directory = tmp_path / "keys"
    assert main(["keygen", str(directory), "controller", "policy"]) == 0
    told = capsys.readouterr().out
    for name in ("controller", "policy"):
        assert f"{directory / name}.key_secret\n    stays with {name} alone" in told
        assert f"{directory / name}.key\n    goes to whoever talks to {name}" in told
        assert load_pair(str(directory / f"{name}.key_secret"))[1].decode() not in told
    assert len(list(directory.iterdir())) == 4


def test_the_command_overwrites_nothing(tmp_path, capsys):
    assert main(["keygen", str(tmp_path), "controller"]) == 0
    pair = load_pair(str(tmp_path / "controller.key_secret"))
    assert main(["keygen", str(tmp_path), "controller"]) == 2
    assert "File exists" in capsys.readouterr().err
    assert load_pair(str(tmp_path / "controller.key_secret")) == pair


def test_the_command_s_keys_work_between_two_ends(context, tmp_path):
    assert main(["keygen", str(tmp_path / "all"), "controller", "policy"]) == 0
    (tmp_path / "allowed").mkdir()
    (tmp_path / "all" / "policy.key").rename(tmp_path / "allowed" / "policy.key")
    server_keys = Keys(str(tmp_path / "all" / "controller.key_secret"), str(tmp_path / "allowed"))
    authenticator = guard(context, server_keys)
    server = serve(context.socket(zmq.ROUTER), ANYWHERE, server_keys)
    mine = Keys(str(tmp_path / "all" / "policy.key_secret"), str(tmp_path / "all" / "controller.key"))
    client = join(context.socket(zmq.DEALER), server.last_endpoint.decode(), mine)
    send(client, b"question")
    assert server.poll(1000 * PATIENCE)
    sender, question = server.recv_multipart()
    server.send_multipart([sender, question[::-1]])
    assert receive(client) == b"noitseuq"
    server.close()
    authenticator.stop()
