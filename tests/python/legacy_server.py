#!/usr/bin/env python3
"""A stand-in for the Python server that secure-chat replaces.

It is written from the description of the old wire and files, to behave on the outside as the old script did, so that
tests can put clients in front of a real Python server, and hand the files that it leaves behind to its replacement.
The script's weaknesses are part of it: it believes any key for any name, passes keys and packages on unchanged and
never again, takes each recv(4096) for a message, hashes passwords with one round of SHA-256 and overwrites its database in place.
It is not meant for anyone's use.

    legacy_server.py --port N [--dir DIR] [--god-password P] [--port-file F] [--host H] [--tls 1.2|1.3] [--until-eof]
    legacy_server.py --make-database DIR [--users alice:secret,bob:pw] [--rooms lobby:pw1,den:pw2]
                     [--god-password P] [--clock-skew SECONDS]

The first form expects server.crt and server.key in DIR, prints `listening on PORT` to stdout when it is ready (port 0
lets the system choose one) and runs until it is killed. The second writes db_key.bin and database.enc, as the script
leaves them, and ends.

It departs from the script where tests would hang or fail at random, and nowhere a client could tell in a quiet moment:
  - one lock is held while a message is dealt with, where the script changes its tables from many threads with none;
  - each TLS object has a lock (see `TlsStream`);
  - handshakes run in the thread of their connection, with a deadline, so a silent or broken client stops nobody else;
  - a reader that doesn't read is cut off after a while. Until then it holds up everybody, as in the script.
"""

import argparse
import getpass
import hashlib
import json
import os
import secrets
import socket
import ssl
import string
import sys
import threading
import time

from cryptography.fernet import Fernet, InvalidToken

from legacy_client import TlsStream, narrow_versions, use_utf8_pipes

HANDSHAKE_SECONDS = 10.0
SEND_SECONDS = 20.0
GOD = "god"


def hash_password(salt, password):
    """Hex SHA-256 of salt and password, one round: what the scripts' database holds."""
    return hashlib.sha256((salt + password).encode("utf-8")).hexdigest()


def new_account(password):
    """The database's entry for a user with `password`."""
    salt = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))
    return {"salt": salt, "pass_hash": hash_password(salt, password)}


class Database:
    """`users` and `rooms`, and the two files that hold them: db_key.bin and database.enc in `folder`."""

    def __init__(self, folder):
        self._key_path = os.path.join(folder, "db_key.bin")
        self._data_path = os.path.join(folder, "database.enc")
        self.users = {}
        self.rooms = {}  # In order of creation, which /list shows.

    def load(self):
        """Reads the files. False if there is no database yet; SystemExit if there is one that can't be read."""
        if not os.path.exists(self._data_path):
            return False
        with open(self._data_path, "rb") as file:
            token = file.read()
        try:
            data = json.loads(self._fernet().decrypt(token))
        except (InvalidToken, ValueError):
            sys.exit("database.enc does not open with db_key.bin")
        self.users, self.rooms = data["users"], data["rooms"]
        return True

    def save(self, clock_skew=0):
        """Overwrites database.enc in place. The token's timestamp is `clock_skew` seconds off the clock."""
        data = json.dumps({"users": self.users, "rooms": self.rooms}).encode("utf-8")
        token = self._fernet().encrypt_at_time(data, int(time.time()) + clock_skew)
        with open(self._data_path, "wb") as file:
            file.write(token)

    def _fernet(self):
        if not os.path.exists(self._key_path):
            with open(self._key_path, "wb") as file:
                file.write(Fernet.generate_key())
        with open(self._key_path, "rb") as file:
            return Fernet(file.read())


class Session:
    """A connection, and what the server knows about whoever is behind it."""

    def __init__(self, stream):
        self.stream = stream
        self.user = None
        self.room = None

    def send(self, text):
        """One message. A peer that is gone or doesn't read is cut off; its own thread then finds the end and tidies."""
        try:
            self.stream.send(text.encode("utf-8"))
        except OSError:
            self.stream.abort()


class Server:
    """The script's behaviour. Everything below `take` and `leave` runs under the one lock."""

    def __init__(self, database):
        self._database = database
        self._sessions = []
        self._lock = threading.Lock()
        self._commands = {
            "/register": self._register,
            "/login": self._login,
            "/create": self._create,
            "/join": self._join,
            "/list": self._list,
        }

    def serve(self, sock, context):
        """The thread of one connection, from its handshake to its end."""
        try:
            stream = TlsStream(sock, context, server_side=True,
                               handshake_seconds=HANDSHAKE_SECONDS, send_seconds=SEND_SECONDS)
        except OSError as problem:
            print(f"handshake failed: {problem}", file=sys.stderr)
            sock.close()
            return
        session = Session(stream)
        with self._lock:
            self._sessions.append(session)
        try:
            while data := stream.receive():
                self.take(session, data.decode("utf-8", errors="ignore"))
        except OSError as problem:
            print(f"connection of {session.user} lost: {problem}", file=sys.stderr)
        finally:
            self.leave(session)
            stream.abort()
            stream.close()

    def take(self, session, text):
        """Deals with one message of a client, completely, before any other is looked at."""
        with self._lock:
            if text.startswith("CMD::"):
                self._command(session, text[len("CMD::"):])
            elif text.startswith("PUBKEY::"):
                # Anyone's key for any name, to everyone there is at this moment. No reply, and never again.
                for other in self._sessions:
                    if other is not session:
                        other.send(text)
            else:
                self._chat(session, text)

    def leave(self, session):
        """Forgets a session whose connection has ended, and tells its room."""
        with self._lock:
            self._sessions.remove(session)
            if session.room is not None and session.user != GOD:
                self._notify(session.room, f"{session.user} left the chat.")

    def _notify(self, room, text):
        for member in self._sessions:
            if member.room == room:
                member.send(text)

    def _chat(self, session, text):
        if session.room is None:
            session.send("You must /join a room to chat.")
            return
        try:
            package = json.loads(text)
        except (ValueError, RecursionError):
            package = None
        if not isinstance(package, dict):
            session.send("Invalid message format.")
        elif not package.get("room"):
            session.send("Invalid message format: missing room.")
        elif package["room"] != session.room:
            session.send("Error: message room mismatch.")
        else:
            for member in self._sessions:
                if member is not session and member.room == session.room:
                    member.send(text)

    def _command(self, session, line):
        words = line.split()
        command = self._commands.get(words[0].lower()) if words else None
        if command is None:
            session.send("Unknown command.")
        else:
            command(session, words)

    def _register(self, session, words):
        if len(words) < 3:
            session.send("Usage: /register <username> <password>")
            return
        user, password = words[1], words[2]
        if user == GOD:
            session.send("Cannot create 'god' user. That is reserved.")
        elif user in self._database.users:
            session.send("Registration failed: User already exists.")
        else:
            self._database.users[user] = new_account(password)
            self._database.save()
            session.send(f"Registration successful for {user}. You may now /login.")

    def _login(self, session, words):
        if len(words) < 3:
            session.send("Usage: /login <username> <password>")
            return
        user, password = words[1], words[2]
        account = self._database.users.get(user)
        if account is None or hash_password(account["salt"], password) != account["pass_hash"]:
            session.send("Login failed. Invalid username or password.")
            return
        session.user = user
        session.room = None  # Without a notice to the room left.
        session.send(f"Login successful. Welcome, {user}!")

    def _create(self, session, words):
        if session.user is None:
            session.send("You must /login first.")
        elif len(words) < 3:
            session.send("Usage: /create <roomName> <roomPassword>")
        elif words[1] in self._database.rooms:
            session.send("Create room failed: Room already exists.")
        else:
            self._database.rooms[words[1]] = {"password": words[2]}
            self._database.save()
            session.send(f"Room '{words[1]}' created.")

    def _join(self, session, words):
        if session.user is None:
            session.send("You must /login first.")
            return
        if len(words) < 2:
            session.send("Usage: /join <roomName> [<roomPassword>]")
            return
        if len(words) < 3 and session.user != GOD:
            session.send("Usage: /join <roomName> <roomPassword>")
            return
        room = self._database.rooms.get(words[1])
        if room is None:
            session.send(f"Room '{words[1]}' does not exist.")
            return
        if session.user != GOD and words[2] != room["password"]:
            session.send("Incorrect room password.")
            return
        left, session.room = session.room, words[1]
        if session.user == GOD:
            return
        self._notify(session.room, f"{session.user} joined the chat!")
        if left is not None and left != session.room:
            self._notify(left, f"{session.user} left the chat.")

    def _list(self, session, _words):
        if session.user is None:
            session.send("You must /login first.")
        elif self._database.rooms:
            session.send("Available rooms: " + ", ".join(self._database.rooms))
        else:
            session.send("No rooms found.")


def pairs(text):
    """`a:x,b:y` as a list of pairs, in order. What follows the first colon is the password, colons included."""
    found = []
    for item in filter(None, text.split(",")):
        name, colon, password = item.partition(":")
        if not (name and colon and password):
            raise argparse.ArgumentTypeError(f"{item!r} is not NAME:PASSWORD")
        found.append((name, password))
    return found


def make_database(folder, users, rooms, god_password, clock_skew):
    """Writes the two files of a server that was used for a while, over any that are there."""
    os.makedirs(folder, exist_ok=True)
    database = Database(folder)
    # god first: it is asked for before the server listens for the first time.
    for name, password in [(GOD, god_password), *users]:
        database.users[name] = new_account(password)
    for name, password in rooms:
        database.rooms[name] = {"password": password}
    database.save(clock_skew)


def exit_at_eof():
    """Ends the program when stdin does, so that a server can't outlive the test that holds the other end."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def run(options):
    os.chdir(options.dir)  # The script finds its files in the current directory.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.crt", "server.key")
    narrow_versions(context, options.tls)

    database = Database(".")
    if not database.load():
        password = options.god_password
        database.users[GOD] = new_account(getpass.getpass("Password for god: ") if password is None else password)
        database.save()

    # The script listens on all interfaces; a test's server has no business there.
    listener = socket.create_server((options.host, options.port), backlog=256)
    port = listener.getsockname()[1]
    if options.port_file:
        # Renamed into place, so that whoever waits for the file never reads half a number.
        with open(options.port_file + ".new", "w", encoding="ascii") as file:
            file.write(f"{port}\n")
        os.replace(options.port_file + ".new", options.port_file)
    print(f"listening on {port}", flush=True)
    if options.until_eof:
        threading.Thread(target=exit_at_eof, name="until-eof", daemon=True).start()

    server = Server(database)
    while True:
        sock, _address = listener.accept()
        threading.Thread(target=server.serve, args=(sock, context), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description="A stand-in for the old Python server, for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=12345, help="0: one that is free")
    parser.add_argument("--dir", default=".", help="where server.crt, server.key and the database are (default: here)")
    parser.add_argument("--god-password", metavar="P", help="for a new database (default: ask; --make-database: god)")
    parser.add_argument("--port-file", metavar="F", help="a file to write the port to")
    parser.add_argument("--tls", choices=["1.2", "1.3"], help="speak this version only")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin does")
    parser.add_argument("--make-database", metavar="DIR", help="write db_key.bin and database.enc there, and end")
    parser.add_argument("--users", type=pairs, default=[], metavar="NAME:PASSWORD,...")
    parser.add_argument("--rooms", type=pairs, default=[], metavar="NAME:PASSWORD,...")
    parser.add_argument("--clock-skew", type=int, default=0, metavar="SECONDS",
                        help="added to the time in the new database's token")
    options = parser.parse_args()
    use_utf8_pipes()
    if options.port_file:
        options.port_file = os.path.abspath(options.port_file)  # run() changes the directory.

    if options.make_database is not None:
        make_database(options.make_database, options.users, options.rooms,
                      GOD if options.god_password is None else options.god_password, options.clock_skew)
        return 0
    try:
        run(options)
    except KeyboardInterrupt:
        return 0
    except OSError as problem:
        print(f"cannot serve: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
