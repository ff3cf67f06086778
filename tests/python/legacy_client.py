#!/usr/bin/env python3
"""A stand-in for the Python client that secure-chat replaces.

It is written from the description of the old wire and files, to behave on the outside as the old script did, its
quirks included, so that tests can put a real Python peer, with a real OpenSSL underneath, at the other end of a
connection. It isn't meant for anyone's use: it checks no certificate and believes any key.

    legacy_client.py --port N [--host H] [--dir DIR] [--tls 1.2|1.3]

It reads lines from stdin, as if typed, and prints what arrives to stdout, one flush per message, with nothing else on
stdout but its four lines of help, which appear once the connection stands, and its own refusals. Diagnostics go to
stderr. It ends with status 0 when the connection has closed, whoever closed it, and 1 when it couldn't connect.

What it departs from, because it would make tests fail at random, is the script's use of one TLS object by two threads
without a lock (see `TlsStream`).
"""

import argparse
import base64
import collections
import json
import os
import selectors
import socket
import ssl
import sys
import threading
import time

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

# The size that the scripts pass to recv(). OpenSSL hands out at most one TLS record per read, so for everything up to
# this size a record is a message; anything longer falls apart into several "messages". Both are part of the protocol.
RECEIVE_SIZE = 4096

# The most plaintext that one TLS record holds. OpenSSL cuts longer writes into full records and a last shorter one.
RECORD_SIZE = 16384

# How long this end goes on printing what still comes after its own side is closed, should the server not close its own.
CLOSE_SECONDS = 5.0

HELP = (
    "Commands: /register <username> <password>, /login <username> <password>",
    "          /create <roomName> <roomPassword>, /join <roomName> <roomPassword>, /list",
    "Any other line is sent, encrypted, to the room that you have joined.",
    "Type exit to leave.",
)


def use_utf8_pipes():
    """Text is UTF-8 on the wire, whatever the locale that a test runs under says about the pipes.

    `newline="\n"` keeps Windows from adding carriage returns, which a test would have to strip again.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace", newline="\n", line_buffering=True)


def lines_of_stdin():
    """Yields the lines of stdin as they come, without their ends.

    `os.read` instead of `sys.stdin`, because this runs in a daemon thread: an interpreter that shuts down while such a
    thread holds the lock of `sys.stdin`'s buffer aborts with a fatal error.
    """
    buffered = b""
    while True:
        chunk = os.read(0, 65536)
        if not chunk:
            break
        buffered += chunk
        *lines, buffered = buffered.split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", errors="ignore")
    if buffered:
        yield buffered.decode("utf-8", errors="ignore")


class TlsStream:
    """One TLS connection that one thread may read while others write.

    An OpenSSL connection object is not safe for two threads at once, and Python before 3.13 doesn't guard it: under
    load, connections die of records that can't be decrypted. Here the object works on memory buffers and is only ever
    touched under `_tls_lock`, which is never held while waiting for the network; so a reader that waits for the peer
    does not keep writers out. `_send_lock` is held from encrypting to the end of sending, because records carry sequence
    numbers and must leave in the order in which they were encrypted.
    """

    def __init__(self, sock, context, server_side, handshake_seconds=20.0, send_seconds=None):
        """Does the handshake, within `handshake_seconds`; OSError (which ssl.SSLError is) if that fails.

        `send_seconds` bounds each send to a peer that doesn't read. Closing `sock` stays with the caller if this raises.
        """
        sock.setblocking(False)
        # One message is one segment on its way, not one that waits for the last one's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._send_seconds = send_seconds
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._tls_lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._taken = collections.deque()

        deadline = time.monotonic() + handshake_seconds
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_socket(self._outgoing.read(), deadline)
                self._fill(deadline)
            except ssl.SSLError:
                # What waits to go out is the alert that tells the peer why.
                self._send_socket(self._outgoing.read(), deadline)
                raise
        self._send_socket(self._outgoing.read(), deadline)

    def receive(self, size=RECEIVE_SIZE):
        """What `recv(size)` on the script's socket returns: bytes of one record at most; empty at the end.

        For one thread only. A TCP close without TLS's close_notify is an end like any other, as for the scripts.
        """
        while True:
            with self._tls_lock:
                if self._taken:
                    return self._taken.popleft()
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
                answers_due = self._outgoing.pending
            if answers_due:  # Such as the answer to a key update.
                self._flush()
            self._fill()

    def send(self, message):
        """One message as one TLS write: one record, unless it is longer than a record can be."""
        with self._send_lock:
            with self._tls_lock:
                rest = memoryview(message)
                while rest:
                    # Python lets OpenSSL stop after a record; going on makes the records of one long write.
                    rest = rest[self._tls.write(rest):]
                records = self._outgoing.read()
            self._send_socket(records, self._send_deadline())

    def end(self, seconds=CLOSE_SECONDS):
        """Closes this direction in order: close_notify, then TCP's FIN. What the peer still sends can be read, for
        `seconds` at most."""
        with self._send_lock:
            with self._tls_lock:
                try:
                    # unwrap() sends close_notify and then looks for the peer's. A message that it finds in its place
                    # it throws away, so the whole messages that are here already are put aside for the reader first.
                    while data := self._tls.read(RECEIVE_SIZE):
                        self._taken.append(data)
                except ssl.SSLError:
                    pass
                try:
                    self._tls.unwrap()
                except ssl.SSLError:
                    pass  # The want-read error: the peer's close_notify isn't there yet, which is as expected.
                notice = self._outgoing.read()
            # A peer that never closes its side would keep the reader waiting for ever.
            cut = threading.Timer(seconds, self.abort)
            cut.daemon = True
            cut.start()
            try:
                self._send_socket(notice, self._send_deadline())
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The peer was faster; its end is read like any other.

    def abort(self):
        """Ends both directions at once, without TLS's close_notify, which is what closing a Python TLS socket does.

        A thread in `receive` or `send` wakes up and finds the end. Any thread may call this; the descriptor stays valid
        until `close`, so that no thread can be left with the number of somebody else's.
        """
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # Not connected any more.

    def close(self):
        """Gives the descriptor back. For the reading thread, once no other can use this stream any more."""
        self._socket.close()

    def version(self):
        """The protocol in use, such as `TLSv1.3`."""
        return self._tls.version()

    def _flush(self):
        with self._send_lock:
            with self._tls_lock:
                records = self._outgoing.read()
            self._send_socket(records, self._send_deadline())

    def _send_deadline(self):
        return None if self._send_seconds is None else time.monotonic() + self._send_seconds

    def _send_socket(self, data, deadline):
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest):]
            except (BlockingIOError, InterruptedError):
                self._wait(selectors.EVENT_WRITE, deadline)

    def _fill(self, deadline=None):
        """Waits for bytes of the peer and puts them where OpenSSL finds them."""
        while True:
            try:
                data = self._socket.recv(65536)
                break
            except (BlockingIOError, InterruptedError):
                self._wait(selectors.EVENT_READ, deadline)
            except ConnectionResetError:
                data = b""  # Nobody who reads a chat cares which way the other one went.
                break
        with self._tls_lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _wait(self, event, deadline):
        # poll() where there is one: select() can't do descriptors above 1023, and a swarm has many.
        with getattr(selectors, "PollSelector", selectors.SelectSelector)() as selector:
            selector.register(self._socket, event)
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0 or not selector.select(seconds):
                raise TimeoutError("the peer was silent for too long")


def client_context(tls=None):
    """The TLS settings of the script: nothing is verified, no ALPN is sent. `tls` narrows it to "1.2" or "1.3"."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    narrow_versions(context, tls)
    return context


def narrow_versions(context, tls):
    """Lets `context` speak the one version that `tls` names ("1.2" or "1.3"), or whatever it likes for None."""
    if tls is not None:
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls]
        context.minimum_version = context.maximum_version = version


def connect(host, port, tls=None, seconds=20.0):
    """Connects as the script does; OSError if that fails."""
    sock = socket.create_connection((host, port), timeout=seconds)
    try:
        return TlsStream(sock, client_context(tls), server_side=False, handshake_seconds=seconds)
    except BaseException:
        sock.close()
        raise


def generate_private_key():
    """A new key such as the script makes: RSA-2048."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key):
    """PKCS#1, unencrypted, as in the script's private_key.pem."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def public_pem(public_key):
    """SubjectPublicKeyInfo, as in the script's public_key.pem and in its PUBKEY messages, with the last newline."""
    return public_key.public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )


def load_or_make_key(folder):
    """The private key of `folder`. When either file is missing, both are made anew, over the one that is there."""
    private_path = os.path.join(folder, "private_key.pem")
    public_path = os.path.join(folder, "public_key.pem")
    if os.path.exists(private_path) and os.path.exists(public_path):
        with open(private_path, "rb") as file:
            return serialization.load_pem_private_key(file.read(), password=None)
    key = generate_private_key()
    with open(private_path, "wb") as file:
        file.write(private_pem(key))
    with open(public_path, "wb") as file:
        file.write(public_pem(key.public_key()))
    return key


def oaep():
    """RSA-OAEP with SHA-256 for the hash and for MGF1, and an empty label."""
    return padding.OAEP(mgf=padding.MGF1(algorithm=hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def seal(plaintext, public_keys, room):
    """The chat package for `plaintext`, as JSON text, readable by the owners of `public_keys` (name to key).

    What is wrapped is the Fernet key in its 44-character base64 form, not the 32 bytes that this stands for.
    """
    key = Fernet.generate_key()
    return json.dumps({
        "encrypted_message": Fernet(key).encrypt(plaintext.encode("utf-8")).decode("ascii"),
        "encrypted_keys": {
            name: base64.b64encode(public_key.encrypt(key, oaep())).decode("ascii")
            for name, public_key in public_keys.items()
        },
        "room": room,
    })


class Dropped(Exception):
    """A package that this client shows nothing of; the text says why, for stderr."""


def unseal(package, name, private_key):
    """The plaintext of a package for `name`, or None if there is no entry of that name."""
    try:
        wrapped = package["encrypted_keys"].get(name)
        if wrapped is None:
            return None
        key = private_key.decrypt(base64.b64decode(wrapped), oaep())
        return Fernet(key).decrypt(package["encrypted_message"].encode("ascii")).decode("utf-8", errors="ignore")
    except (KeyError, AttributeError, TypeError, ValueError, InvalidToken) as problem:
        # ValueError is also what a wrong RSA key, bad base64 and a Fernet key of the wrong length raise.
        raise Dropped(f"a package that can't be read ({type(problem).__name__})") from problem


class LegacyClient:
    """The behaviour of the script between the keyboard and the wire.

    `type_line` belongs to one thread and `run` to another, as in the script. The names and keys that they share are
    swapped whole or set once, under `_lock`.
    """

    def __init__(self, stream, private_key, show, on_message=None, on_key=None, on_dropped=None):
        """`show(text)` gets each line for the screen.

        For scripted peers: `on_message(text)` takes the decrypted messages instead, `on_key(name)` is told of each new
        key, `on_dropped(reason)` of each package that couldn't be read.
        """
        self._stream = stream
        self._private_key = private_key
        self._show = show
        self._on_message = on_message or show
        self._on_key = on_key or (lambda name: None)
        self._on_dropped = on_dropped or (lambda reason: print(f"dropped: {reason}", file=sys.stderr))
        self._lock = threading.Lock()
        self._public_keys = {}
        self.nickname = None
        self.room = None

    # The keyboard's side.

    def type_line(self, line):
        """Does what the script does with a typed line. False means that the person is done (`exit`)."""
        if not line.strip():
            return True
        if line.strip().lower() == "exit":
            return False
        if line.startswith("/"):
            self._type_command(line)
        elif self.nickname is None:
            self._show("You must /login before you can chat.")
        elif self.room is None:
            self._show("You must /join a room before you can chat.")
        else:
            self._stream.send(seal(f"{self.nickname}: {line}", self._recipients(), self.room).encode("utf-8"))
        return True

    def _type_command(self, line):
        words = line.split()
        command = words[0].lower()
        announce = False
        # Name and room are believed as typed: the script doesn't wait for the server's opinion, and neither does the
        # key, which leaves right behind the command. That the record is one of its own is what keeps it readable.
        if command == "/login" and len(words) >= 3:
            self.nickname = words[1]
            announce = True
        elif command == "/join" and len(words) >= 2:
            self.room = words[1]
            announce = self.nickname is not None
        self._stream.send(f"CMD::{line}".encode("utf-8"))
        if announce:
            self.announce()

    def announce(self):
        """Sends this client's key under the name that it believes to have."""
        pem = public_pem(self._private_key.public_key()).decode("ascii")
        self._stream.send(f"PUBKEY::{self.nickname}::{pem}".encode("utf-8"))

    def _recipients(self):
        # Everyone ever heard of, in the room or not, and oneself. That is what makes packages outgrow 4096 bytes.
        with self._lock:
            recipients = dict(self._public_keys)
        recipients[self.nickname] = self._private_key.public_key()
        return recipients

    def known_names(self):
        """The names, other than one's own, that the next message will be encrypted for."""
        with self._lock:
            return set(self._public_keys) - {self.nickname}

    # The wire's side.

    def run(self):
        """Takes what comes until the connection ends."""
        while True:
            try:
                data = self._stream.receive()
            except OSError as problem:
                print(f"connection lost: {problem}", file=sys.stderr)
                return
            if not data:
                return
            self._take(data.decode("utf-8", errors="ignore"))

    def _take(self, text):
        # JSON first, then PUBKEY, and all else is for the screen, escape sequences included. A piece of a message that
        # was too long for one recv() is neither of the first two, so people get to see its ciphertext.
        try:
            package = json.loads(text)
        except (ValueError, RecursionError):
            package = None
        if isinstance(package, dict):
            self._take_package(package)
        elif text.startswith("PUBKEY::"):
            self._take_key(text)
        else:
            self._show(text)

    def _take_package(self, package):
        try:
            plaintext = unseal(package, self.nickname, self._private_key)
        except Dropped as problem:
            self._on_dropped(str(problem))
            return
        if plaintext is not None:  # No entry for this name: silence.
            self._on_message(plaintext)

    def _take_key(self, text):
        parts = text.split("::", 2)
        if len(parts) != 3:
            return
        name, pem = parts[1], parts[2]
        with self._lock:
            if name in self._public_keys:
                return  # The first key stays, until this client is started again.
        try:
            public_key = serialization.load_pem_public_key(pem.encode("utf-8"))
        except (ValueError, UnsupportedAlgorithm):
            public_key = None
        if not isinstance(public_key, rsa.RSAPublicKey):
            self._on_dropped(f"a key for {name} that isn't one")
            return
        with self._lock:
            self._public_keys[name] = public_key
        self._on_key(name)


def main():
    parser = argparse.ArgumentParser(description="A stand-in for the old Python client, for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=12345)
    parser.add_argument("--dir", default=".", help="where private_key.pem and public_key.pem are (default: here)")
    parser.add_argument("--tls", choices=["1.2", "1.3"], help="speak this version only")
    options = parser.parse_args()
    use_utf8_pipes()

    private_key = load_or_make_key(options.dir)
    try:
        stream = connect(options.host, options.port, options.tls)
    except OSError as problem:
        print(f"cannot connect to {options.host}:{options.port}: {problem}", file=sys.stderr)
        return 1

    screen = threading.Lock()

    def show(text):
        with screen:
            try:
                print(text, flush=True)
            except (BrokenPipeError, ValueError):
                stream.abort()  # The test is gone; nobody is left to print for.

    for line in HELP:
        show(line)
    client = LegacyClient(stream, private_key, show)

    def keyboard():
        try:
            for line in lines_of_stdin():
                if not client.type_line(line):
                    # As the script leaves: it closes the socket, and Python's TLS sockets send no close_notify.
                    stream.abort()
                    return
            stream.end()
        except OSError as problem:
            print(f"cannot send: {problem}", file=sys.stderr)
            stream.abort()

    # The keyboard has the thread that may be left behind: when the server closes, the program ends even though
    # somebody holds the other end of stdin open.
    threading.Thread(target=keyboard, name="keyboard", daemon=True).start()
    client.run()
    stream.abort()
    return 0


if __name__ == "__main__":
    sys.exit(main())
