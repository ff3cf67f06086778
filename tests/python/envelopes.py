#!/usr/bin/env python3
"""What a client's cryptography costs in Python's `cryptography`: the other side of `secure-chat-bench envelopes`.

    envelopes.py KEY TEXT RECIPIENTS SECONDS

KEY is a file with an RSA private key in PEM, TEXT what is said. It prints one line of JSON: the milliseconds of this
process's processor time that each piece of work takes, as the best of the passes that fit into SECONDS.
"""

import base64
import json
import sys
import time

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OAEP = padding.OAEP(mgf=padding.MGF1(algorithm=hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def best(seconds, at_once, work):
    """The least processor time of one piece of work, in milliseconds; they are timed by `at_once`."""
    end = time.monotonic() + seconds
    times = []
    while not times or time.monotonic() < end:
        begun = time.process_time()
        for _ in range(at_once):
            work()
        times.append((time.process_time() - begun) / at_once)
    return 1000 * min(times)


def main():
    path, text, recipients, seconds = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3]), float(sys.argv[4])
    with open(path, "rb") as file:
        private = serialization.load_pem_private_key(file.read(), password=None)
    public = private.public_key()
    signing = Ed25519PrivateKey.generate()
    verifying = signing.public_key()

    def wrap(key):
        return base64.b64encode(public.encrypt(key, OAEP))

    def send():
        key = Fernet.generate_key()
        Fernet(key).encrypt(text)
        for _ in range(recipients):
            wrap(key)

    key = Fernet.generate_key()
    token, wrapped = Fernet(key).encrypt(text), wrap(key)

    def read():
        assert Fernet(private.decrypt(base64.b64decode(wrapped), OAEP)).decrypt(token) == text

    fernet = Fernet(key)
    statement = bytes(400)
    signature = signing.sign(statement)

    def seal_and_sign():
        fernet.encrypt(text)
        signing.sign(statement)

    def verify_and_open():
        verifying.verify(signature, statement)
        fernet.decrypt(token)

    works = {
        "legacy_read": (50, read),
        "legacy_send": (1, send),
        "modern_send": (500, seal_and_sign),
        "modern_read": (500, verify_and_open),
    }
    print(json.dumps({name: best(seconds, at_once, work) for name, (at_once, work) in works.items()}))


main()
