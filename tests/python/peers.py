#!/usr/bin/env python3
"""Many scripted Python clients in one process, for tests with rooms full of them.

    peers.py swarm --port N --count 40 --room R --room-password P --prefix m --password pw
                   [--host H] [--tls 1.2|1.3] [--create-room] [--no-register] [--key-pool N] [--at-once N]
                   [--timeout SECONDS] [--show-keys]

starts members m0, m1, ... (each a connection of its own with the behaviour of `legacy_client.py`), which register, log
in, announce their keys and join the room. An account that exists already is used as it is. Then it prints `ready`, and
does what stdin says, a command a line, M being a member's number or `all`:

    say M TEXT             M types TEXT, which may be a chat line or a /command
    key M                  M announces its key once more (what /join does beside joining)
    keys M                 prints `m3 keys COUNT`: how many others' keys M has
    await-keys M COUNT     the same, as soon as M has at least COUNT others' keys
    close M                M closes its connection in order
    quit                   ends, as the end of stdin does

What happens is printed as it happens, one flushed line per event. Line breaks in texts are shown as \\n and \\r:

    ready                  all members are in the room
    m3 got PLAINTEXT       a message that m3 could read, such as `m0: hello`
    m3 notice TEXT         any other text of the server, replies included, before `ready` as well
    m3 refused TEXT        what m3's own client said to what it was to type
    m3 key NAME            m3 has NAME's key now (with --show-keys)
    m3 keys COUNT          the answer to keys and await-keys
    m3 dropped REASON      a package with an entry for m3 that it couldn't read, or a key that is none
    m3 closed              m3's connection has ended
    error: REASON          a command that makes no sense, or a timeout of await-keys

If the members don't all get into the room in time, it prints `failed: REASON` and ends with status 1.

All members are logged in before the first one joins, and a /join announces the key, so even a Python server, which never
repeats a key, brings every member every other's. `await-keys M 39` tells when. Who comes later gets them by `key all`.
"""

import argparse
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from legacy_client import LegacyClient, connect, generate_private_key, lines_of_stdin, use_utf8_pipes


class Failed(Exception):
    """The swarm can't start, and why."""


class Screen:
    """Standard output for many threads: whole lines, at once."""

    def __init__(self):
        self._lock = threading.Lock()

    def say(self, text):
        text = text.replace("\r", "\\r").replace("\n", "\\n")
        with self._lock:
            print(text, flush=True)


class Member:
    """One scripted client, and the thread that reads its connection."""

    def __init__(self, name, private_key, options, screen):
        self.name = name
        self._private_key = private_key
        self._options = options
        self._screen = screen
        # Guards the three below, and is notified of each change to them, and of each new key.
        self._news = threading.Condition()
        self._replies = []
        self._awaited = None
        self._closed = False
        # Members do what they are told one at a time, so that a text refused is the answer to what was typed.
        self._typing = threading.Lock()
        self._typist = None
        self._stream = None
        self._client = None
        self._reader = None

    def start(self):
        """Connects, and registers, logs in and joins, each after the server's answer to the last; Failed if it can't."""
        try:
            self._stream = connect(self._options.host, self._options.port, self._options.tls, self._options.timeout)
        except OSError as problem:
            raise Failed(f"{self.name} cannot connect: {problem}") from problem
        self._client = LegacyClient(
            self._stream,
            self._private_key,
            show=self._show,
            on_message=lambda text: self._screen.say(f"{self.name} got {text}"),
            on_key=self._got_key,
            on_dropped=lambda reason: self._screen.say(f"{self.name} dropped {reason}"),
        )
        self._reader = threading.Thread(target=self._read, name=self.name)
        self._reader.start()
        password = self._options.password
        if self._options.register:
            self._ask(f"/register {self.name} {password}",
                      f"Registration successful for {self.name}. You may now /login.",
                      "Registration failed: User already exists.")
        self._ask(f"/login {self.name} {password}", f"Login successful. Welcome, {self.name}!")

    def create_room(self):
        self._ask(f"/create {self._options.room} {self._options.room_password}",
                  f"Room '{self._options.room}' created.",
                  "Create room failed: Room already exists.")

    def join(self):
        self._ask(f"/join {self._options.room} {self._options.room_password}", f"{self.name} joined the chat!")

    def type_line(self, line):
        with self._typing:
            self._typist = threading.get_ident()
            try:
                if not self._client.type_line(line):
                    self._stream.abort()
            except OSError as problem:
                self._screen.say(f"error: {self.name} cannot send: {problem}")
            finally:
                self._typist = None

    def announce(self):
        try:
            self._client.announce()
        except OSError as problem:
            self._screen.say(f"error: {self.name} cannot send: {problem}")

    def show_keys(self):
        self._screen.say(f"{self.name} keys {len(self._client.known_names())}")

    def await_keys(self, count):
        with self._news:
            self._news.wait_for(lambda: self._closed or len(self._client.known_names()) >= count,
                                self._options.timeout)
        have = len(self._client.known_names())
        if have >= count:
            self.show_keys()
        else:
            self._screen.say(f"error: {self.name} has {have} keys, not {count}")

    def close(self):
        """Closes in order. The reader goes on to the server's end, or until the server has had its time."""
        self._stream.end()

    def await_end(self):
        self._reader.join()

    def finish(self):
        """Cuts the connection and waits for its reader, which would otherwise keep the program from ending."""
        if self._reader is not None:
            self._stream.abort()
            self._reader.join()
            self._stream.close()

    def _read(self):
        self._client.run()
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._screen.say(f"{self.name} closed")

    def _show(self, text):
        # The client has one screen for what it refuses, in the thread that types, and for what the server says, in the
        # thread that reads.
        if self._typist == threading.get_ident():
            self._screen.say(f"{self.name} refused {text}")
            return
        self._screen.say(f"{self.name} notice {text}")
        with self._news:
            if self._awaited is not None:
                self._replies.append(text)
                self._news.notify_all()

    def _got_key(self, name):
        if self._options.show_keys:
            self._screen.say(f"{self.name} key {name}")
        with self._news:
            self._news.notify_all()

    def _ask(self, line, *welcome):
        """Types `line` and waits until one of `welcome` has come; Failed if the connection ends or time runs out first.

        Other texts in between are passed over: a server may greet, and others join while we do.
        """
        with self._news:
            self._awaited = line
            self._replies.clear()
        self.type_line(line)
        with self._news:
            done = self._news.wait_for(
                lambda: self._closed or any(reply in welcome for reply in self._replies), self._options.timeout)
            replies, self._awaited = list(self._replies), None
            if not done or not any(reply in welcome for reply in replies):
                raise Failed(f"{self.name} typed {line!r} and got {replies!r}"
                             + (", then the end of the connection" if self._closed else ""))


def start_members(options, screen, members):
    """Fills `members`; Failed if not all of them got into the room."""
    with ThreadPoolExecutor(options.at_once, thread_name_prefix="start") as pool:
        # Making an RSA key takes a good part of a second of CPU; OpenSSL needs no lock of the interpreter for it.
        pool_size = min(options.key_pool or options.count, options.count)
        keys = list(pool.map(lambda _: generate_private_key(), range(pool_size)))
        members.extend(
            Member(f"{options.prefix}{number}", key, options, screen)
            for number, key in zip(range(options.count), itertools.cycle(keys))
        )
        # All are connected and logged in before any joins: on a Python server, which never repeats a key, this gets
        # everyone the keys of everyone, since a /join announces the key once more.
        for _ in pool.map(Member.start, members):
            pass
        if options.create_room:
            members[0].create_room()
        for _ in pool.map(Member.join, members):
            pass


def obey(line, members, screen):
    """Does one command of stdin. False for `quit`."""
    command, _, rest = line.partition(" ")
    if command == "quit":
        return False
    who, _, argument = rest.partition(" ")
    try:
        chosen = members if who == "all" else [members[int(who)]]
        if command == "say":
            for member in chosen:
                member.type_line(argument)
        elif command == "key":
            for member in chosen:
                member.announce()
        elif command == "keys":
            for member in chosen:
                member.show_keys()
        elif command == "await-keys":
            count = int(argument)
            for member in chosen:
                member.await_keys(count)
        elif command == "close":
            for member in chosen:
                member.close()
        else:
            screen.say(f"error: unknown command {line!r}")
    except (ValueError, IndexError):
        screen.say(f"error: {line!r} is not understood")
    return True


def swarm(options):
    screen = Screen()
    members = []
    try:
        start_members(options, screen, members)
        screen.say("ready")
        for line in lines_of_stdin():
            if line and not obey(line, members, screen):
                break
        for member in members:
            member.close()
        for member in members:
            member.await_end()
        return 0
    except Failed as problem:
        screen.say(f"failed: {problem}")
        return 1
    except BrokenPipeError:
        return 1  # The test is gone.
    finally:
        for member in members:
            member.finish()


def main():
    parser = argparse.ArgumentParser(description="Many Python clients at once, for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("swarm", help="members of one room, driven from stdin")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--room", required=True)
    options.add_argument("--room-password", required=True)
    options.add_argument("--prefix", default="m")
    options.add_argument("--password", required=True, help="of every member")
    options.add_argument("--create-room", action="store_true", help="member 0 creates it if it doesn't exist")
    options.add_argument("--no-register", dest="register", action="store_false", help="the accounts exist")
    options.add_argument("--key-pool", type=int, metavar="N",
                         help="make only N key pairs and hand them out in turn (default: one for each member)")
    options.add_argument("--at-once", type=int, default=8, metavar="N", help="how many members start at a time")
    options.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for each answer awaited")
    options.add_argument("--show-keys", action="store_true", help="print an event for each key received")
    options.add_argument("--tls", choices=["1.2", "1.3"], help="speak this version only")
    parsed = parser.parse_args()
    if parsed.count < 1 or parsed.at_once < 1 or (parsed.key_pool is not None and parsed.key_pool < 1):
        parser.error("counts start at 1")
    use_utf8_pipes()
    return swarm(parsed)


if __name__ == "__main__":
    sys.exit(main())
