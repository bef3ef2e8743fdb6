"""Who can connect, and what other users can see."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import zmq
from waiting import until

from mpidirect import Client, Cluster, errors
from mpidirect.client.connection.dialer import Dialer
from mpidirect.files import connection_file
from mpidirect.files.private_directories import private_directory
from mpidirect.job.parent import Parent
from mpidirect.transport import zeromq
from mpidirect.transport.curve import CLIENTS, ENGINES, Credentials, KeyPair, ZapAuthenticator, new_keys
from mpidirect.transport.zeromq import Dealer, Router
from tests.proxy import Proxy

pytestmark = [pytest.mark.timeout(60), pytest.mark.openmpi_only]  # nothing here depends on the MPI


@pytest.fixture(scope="module")
def info(cluster):
    return connection_file.read(cluster.connection_file)


@pytest.fixture
def address(info):
    return next(a for a in info.addresses if a.startswith("tcp://"))


@pytest.fixture
def unharmed(rc):
    """After each test, the cluster works and its other clients notice nothing."""
    yield
    assert rc[:].apply_sync(lambda: 7) == [7] * len(rc)


def over_tcp(info, **changes):
    values = {name: getattr(info, name) for name in info.__struct_fields__}
    values["addresses"] = [a for a in info.addresses if a.startswith("tcp://")]
    return connection_file.from_mapping({**values, **changes})


def knock(info, **changes):
    """Whether a connection by TCP is accepted."""
    info = over_tcp(info, **changes)
    try:
        link = Dialer(info, "stranger", threading.Event()).attempt(0, False, 5)
    except errors.ConnectionFailed:
        return False
    link.socket.close()
    return True


def pair(keys):
    return {"client_key": keys.public.decode(), "client_secret": keys.secret.decode()}


def test_the_clusters_client_key_is_accepted(info):
    assert knock(info)


@pytest.mark.usefixtures("unharmed")
def test_another_key_is_refused(info):
    wrong = over_tcp(info, **pair(new_keys()))
    with pytest.raises(errors.AuthenticationFailed, match="refuses this client's key"):
        Client(wrong, timeout=5)


@pytest.mark.usefixtures("unharmed")
def test_a_false_public_key_of_the_server_fails(info):
    wrong = over_tcp(info, server_key=new_keys().public.decode())
    with pytest.raises(errors.ConnectionFailed):
        Client(wrong, timeout=1)


CURVE = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE" + bytes(15) + b"\0" + bytes(31)  # ZMTP's greeting
WELCOME = b"\x04\xa8" + b"\x07WELCOME" + bytes(160)  # a WELCOME that was made without a key
IMPOSTORS = {
    "another program": (b"220 mail.example.org ESMTP\r\n" * 3, "refused or closed at once|is no controller"),
    "ZeroMQ without encryption": (
        CURVE.replace(b"CURVE", b"NULL\0") + b"\x04\x05READY",
        "no controller of mpidirect",
    ),
    "a controller without the key": (CURVE + WELCOME, "no controller of mpidirect"),
    "one that gives up": (CURVE, "does not know these keys|closed at once"),
    "nobody behind a tunnel": (b"", "refused or closed at once|does not know these keys"),
}


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_a_false_controller_is_not_believed(info, impostor):
    says, complaint = IMPOSTORS[impostor]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener, says), daemon=True).start()
        false = over_tcp(info, addresses=[f"tcp://127.0.0.1:{listener.getsockname()[1]}"])
        with pytest.raises(errors.ConnectionFailed, match=complaint):
            Client(false, timeout=1)


def test_the_reason_of_an_early_handshake_failure_is_named(info, monkeypatch):
    put = Dealer.put

    def put_late(dealer, frames, **options):
        until(dealer.ended)
        put(dealer, frames, **options)

    monkeypatch.setattr(Dealer, "put", put_late)
    with pytest.raises(errors.AuthenticationFailed, match="refuses this client's key"):
        Client(over_tcp(info, **pair(new_keys())), timeout=5)


def answer(listener, says):
    """Send the same bytes to each connection, and close it."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(says)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100):
                    pass


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("key", ["", "short", "0" * 39 + "~", "\N{SNOWMAN}" * 40])
def test_malformed_keys_are_distinguished_from_wrong_keys(info, key):
    with pytest.raises(errors.AuthenticationFailed, match="no usable keys"):
        Client(over_tcp(info, client_secret=key), timeout=5)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 4096,
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + b"\0" * 60,
        CURVE + bytes(1000),
        CURVE + b"\x04\xc8\x05HELLO\x01\x00" + bytes(192),
        b"",
    ],
)
def test_garbage_by_plain_tcp_is_refused(address, garbage):
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), 5) as plain:
        say(plain, garbage)


def say(plain, data):
    """Send `data` and wait until the other side closes the connection."""
    plain.settimeout(15)
    try:
        plain.sendall(data)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            pass
    except OSError as e:
        assert not isinstance(e, TimeoutError)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("size", [1 << 20, (1 << 63) - 1])
def test_an_oversized_message_ends_the_connection(address, size):
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), 5) as plain:
        say(plain, CURVE + b"\x02" + size.to_bytes(8, "big"))


def test_a_late_handshake_is_ended(monkeypatch):
    monkeypatch.setattr(zeromq, "HANDSHAKE", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with zmq.Context() as context:
        router = Router.listening(context, listener, new_keys(), CLIENTS)
        try:
            for said in (b"", CURVE):
                with socket.create_connection(address, 10) as silent:
                    silent.sendall(said)
                    while silent.recv(100):
                        pass
        finally:
            router.close(0)


def test_a_process_without_descriptors_does_not_believe_its_parent_dead(monkeypatch):
    monkeypatch.setenv("MPIDIRECT_GUARD", str(os.getppid()))
    parent = Parent()

    def exhausted(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_text", exhausted)
    assert not parent.gone()


def test_a_flood_of_silent_connections(info, address, rc):
    parts = urlsplit(address)
    flood = [socket.create_connection((parts.hostname, parts.port), 5) for _ in range(300)]
    try:
        assert rc[:].apply_async(lambda: 1).get(30) == [1] * len(rc)
        assert knock(info)  # a client with the key is still accepted
    finally:
        for each in flood:
            each.close()


def test_strangers_can_not_use_up_all_descriptors(cluster, info, address, rc):
    controller = psutil.Process(info.pid)
    soft, hard = controller.rlimit(psutil.RLIMIT_NOFILE)
    there = controller.num_fds()
    parts = urlsplit(address)
    flood = []
    controller.rlimit(psutil.RLIMIT_NOFILE, (there + 200, hard))
    try:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                flood.append(socket.create_connection((parts.hostname, parts.port), 1))
        assert 20 < len(flood) < 1000
        with Client(str(cluster.connection_file)) as near:  # by ipc
            assert near[:].apply_async(lambda: 1).get(30) == [1] * len(rc)
    finally:
        for each in flood:
            each.close()
        controller.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    assert knock(info)


@pytest.mark.usefixtures("unharmed")
def test_replayed_frames_do_nothing(cluster, rc, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    rc[0].execute("count = 0", block=True)
    recorded = bytearray()
    with Proxy(cluster.connection_file) as proxy:
        proxy.mutate(lambda data: recorded.extend(data) or data)
        with Client(proxy.info) as client:
            client[0].execute("count += 1", block=True)
        info = over_tcp(connection_file.read(cluster.connection_file))
    parts = urlsplit(info.addresses[0])
    for _ in range(3):
        with socket.create_connection((parts.hostname, parts.port), 5) as again:
            say(again, recorded)
    assert rc[0].pull("count", block=True) == 1


def test_each_port_accepts_only_its_own_key(info):
    """Engines on other hosts have another port and another key than clients."""
    pairs = {CLIENTS: KeyPair(info.client_key.encode(), info.client_secret.encode()), ENGINES: new_keys()}
    with zmq.Context() as context:
        authenticator = ZapAuthenticator(context, {domain: keys.public for domain, keys in pairs.items()})
        got, refused = {}, 0
        for domain in pairs:
            server = new_keys()
            listener = socket.create_server(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            router = Router.listening(context, listener, server, domain)
            for whose, keys in pairs.items():
                dealer = Dealer.of_client(context, address, whose, Credentials(server.public, keys))
                dealer.put([b"hello"])
                assert authenticator.socket.poll(5000)
                authenticator.answer()
                refused += whose != domain
                assert authenticator.refused == refused
                if whose == domain:
                    assert router.poll(5000)
                else:
                    until(dealer.ended)
                    assert dealer.end_event() == zmq.EVENT_HANDSHAKE_FAILED_AUTH
                got[domain, whose] = router.readable()
                router.recv_multipart() if got[domain, whose] else None
                dealer.close(0)
            router.close(0)
        authenticator.socket.close(0)
    assert got == {(domain, whose): domain == whose for domain in pairs for whose in pairs}


def test_keys_are_in_the_connection_file_and_nowhere_else(cluster, info):
    secret = info.client_secret
    directory = Path(cluster.connection_file).parent
    for path in [p for p in directory.rglob("*") if p.is_file()]:
        assert (secret in path.read_text(errors="replace")) == (path == Path(cluster.connection_file))
    for process in psutil.process_iter():
        for name in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
            assert secret.encode() not in data and info.server_key.encode() not in data


def test_files_and_directories_are_private(cluster):
    directory = Path(cluster.connection_file).parent
    sockets = Path(urlsplit(connection_file.read(cluster.connection_file).addresses[0]).path).parent
    for path in (directory, sockets, *directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_directories_open_to_others_are_refused(tmp_path, info):
    path = tmp_path / "connection.json"
    connection_file.write(info, path)
    path.chmod(0o640)
    with pytest.raises(errors.ConnectionFailed, match="can be read by others"):
        Client(str(path))
    wide = tmp_path / "wide"
    wide.mkdir()
    wide.chmod(0o755)
    with pytest.raises(errors.ConfigError, match="open to others"):
        private_directory(wide)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(errors.ConfigError, match="not a directory"):
        private_directory(tmp_path / "link")


def test_a_local_socket_in_a_directory_that_others_can_enter_is_not_used(tmp_path, info):
    squatted = tmp_path / "squatted"
    squatted.mkdir()
    squatted.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(squatted / "clients"))
        listener.listen()
        listener.setblocking(False)
        with pytest.raises(errors.ClusterNotFound):
            Client(over_tcp(info, addresses=[f"ipc://{squatted}/clients"]), timeout=2)
        with pytest.raises(BlockingIOError):  # no connection has arrived
            listener.accept()


def test_nothing_listens_beyond_this_host(info):
    tcp = [c for c in psutil.Process(info.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    ours = {urlsplit(a).port for a in info.addresses if a.startswith("tcp://")}
    assert {c.laddr.port for c in tcp} >= ours
    assert {c.laddr.ip for c in tcp if c.laddr.port in ours} == {"127.0.0.1"}


STRANGER = """
import os, socket, sys
home, connection, directory, pid = sys.argv[1:5]
def tries(what, *args):
    try:
        what(*args)
    except OSError as e:
        print(type(e).__name__)
    else:
        print("succeeded")
tries(os.listdir, home)
tries(open, connection)
tries(os.listdir, directory)
tries(socket.socket(socket.AF_UNIX).connect, directory + "/clients")
tries(socket.socket(socket.AF_UNIX).connect, directory + "/engines")
tries(open, f"/proc/{pid}/environ")
tries(open, f"/proc/{pid}/mem", "rb")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_second_user_of_the_host_sees_nothing(monkeypatch):
    top = tempfile.mkdtemp()
    Path(top).chmod(0o755)  # as is possible for a home directory
    monkeypatch.setenv("MPIDIRECT_DIR", f"{top}/home")
    try:
        cluster = Cluster(n=1)
        with cluster:
            info = connection_file.read(cluster.connection_file)
            sockets = str(Path(urlsplit(info.addresses[0]).path).parent)
            arguments = [f"{top}/home", str(cluster.connection_file), sockets, str(info.pid)]
            python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
            stranger = subprocess.run(
                [python, "-c", STRANGER, *arguments],
                user=65534,
                group=65534,
                extra_groups=[],
                cwd="/",
                stdout=subprocess.PIPE,
                timeout=20,
                check=True,
            )
            assert stranger.stdout.split() == [b"PermissionError"] * 7
    finally:
        shutil.rmtree(top)
