"""Reproduces the test vectors of the modern wire from its specification; knows nothing of the program's code.

usage: vectors.py VECTORS.json RSA_KEY.pem
"""

import base64
import hashlib
import hmac
import json
import sys

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding

PREFIX = b"secure-chat/1 "


def enc(*fields):
    """Each field as a 32-bit big-endian length and its bytes; an integer is a field of 8 bytes, text is UTF-8."""
    out = b""
    for field in fields:
        if isinstance(field, int):
            field = field.to_bytes(8, "big")
        elif isinstance(field, str):
            field = field.encode()
        out += len(field).to_bytes(4, "big") + field
    return out


def label(text):
    return PREFIX + text.encode("ascii")


def h(data):
    return hashlib.sha256(data).digest()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def un64(text):
    return base64.b64decode(text, validate=True)


def b64(data):
    return base64.b64encode(data).decode()


def private_key(v):
    return ed25519.Ed25519PrivateKey.from_private_bytes(un64(v["seed"]))


def signed(v, data):
    return {"bytes": b64(data), "signature": b64(private_key(v).sign(data))}


def hello(v):
    return signed(v, enc(label("hello"), un64(v["exporter"])))


def bundle(v):
    public = private_key(v).public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    rsa_key = serialization.load_der_public_key(un64(v["rsa_key"]))
    canonical = rsa_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert canonical == un64(v["rsa_key"])
    data = enc(label("bundle"), un64(v["realm"]), v["account"], public, canonical)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    rsa_key.verify(un64(v["rsa_signature"]), data, pss, hashes.SHA256())
    return {**signed(v, data), "signing_key": b64(public), "hash": b64(h(data))}


def author(v):
    return un64(v["realm"]), v["room"], v["account"], un64(v["bundle"]), un64(v["run"])


def statement(v):
    return signed(v, enc(
        label("message"), *author(v), v["kind"], v["epoch"], v["counter"], v["n"], un64(v["log"]),
        un64(v["commitment"]), h(v["encrypted_message"].encode()),
    ))


def grant(v):
    return signed(v, enc(
        label("grant"), *author(v), v["epoch"], v["counter"], v["n"], un64(v["log"]), un64(v["check"]),
    ))


def act(v):
    return signed(v, enc(
        label("act"), *author(v), v["counter"], v["n"], un64(v["log"]), v["verb"], v["target"], v["argument"],
    ))


def direct(v):
    readers = sorted(un64(reader["bundle"]) + un64(reader["run"]) for reader in v["readers"])
    readers_hash = h(b"".join(readers))
    data = enc(
        label("direct"), un64(v["realm"]), v["account"], un64(v["bundle"]), un64(v["run"]), v["recipient"],
        v["counter"], un64(v["commitment"]), readers_hash, h(v["encrypted_message"].encode()),
    )
    return {**signed(v, data), "readers_hash": b64(readers_hash)}


def entry(e):
    return e["account"], e["kind"], un64(e["key"]), un64(e["run"])


def change(word, e):
    return h(enc(label(word), *entry(e)))


def event(e):
    if e["type"] == "members":
        changes = [change("joined", x) for x in e["joined"]] + [change("removed", x) for x in e["removed"]]
        return enc(
            label("event members"), len(e["joined"]), len(e["removed"]), h(b"".join(changes)), un64(e["roster"])
        )
    if e["type"] == "members in numbers":
        return enc(
            label("event members"), e["joined_count"], e["removed_count"], un64(e["changes"]), un64(e["roster"])
        )
    if e["type"] == "message":
        message = h(e["encrypted_message"].encode())
        return enc(label("event message"), e["account"], message, un64(e["signature"]))
    assert e["type"] == "act"
    return enc(
        label("event act"), e["account"], e["verb"], e["target"], e["argument"], un64(e["signature"])
    )


def log(v):
    values = [h(enc(label("log"), un64(v["realm"]), un64(v["room_id"]), v["room"], un64(v["nonce"])))]
    events = [event(e) for e in v["events"]]
    for n, data in enumerate(events, 1):
        values.append(h(enc(label("log"), values[-1], n, h(data))))
    return {"events": [b64(data) for data in events], "log": [b64(value) for value in values]}


def roster(v):
    leaves = [h(enc(*entry(e))) for e in v["entries"]]
    start = enc(label("roster"), un64(v["realm"]), un64(v["room_id"]), v["room"])
    return {
        "leaves": [b64(leaf) for leaf in leaves],
        "joined": [b64(change("joined", e)) for e in v["entries"]],
        "removed": [b64(change("removed", e)) for e in v["entries"]],
        "roster": b64(h(start + b"".join(sorted(leaves)))),
    }


def commitment(v):
    return {"commitment": b64(mac(un64(v["key"]), b"key"))}


def chain(v):
    key = un64(v["chain_key"])
    check = mac(key, b"grant")
    for _ in range(v["counter"] - v["grant_counter"]):
        key = mac(key, b"\x02")
    return {"check": b64(check), "chain_key": b64(key), "message_key": b64(mac(key, b"\x01"))}


def wrap(v):
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    text = RSA.decrypt(un64(v["wrapped"]), oaep)
    assert len(text) == 44
    return {"key": b64(base64.urlsafe_b64decode(text))}


def token(v):
    fernet = Fernet(base64.urlsafe_b64encode(un64(v["key"])))
    padded = fernet.decrypt(v["token"])
    assert len(padded) % 128 == 0
    return {
        "padded": b64(padded),
        "text": padded.rstrip(b"\0").decode(),
        "time": fernet.extract_timestamp(v["token"]),
    }


def half(realm, account, key):
    """libsignal: version 0 as 16 bits, key and identifier come first; each of the 5,200 rounds appends the key and hashes."""
    value = b"\0\0" + key + realm + account.encode()
    for _ in range(5200):
        value = hashlib.sha512(value + key).digest()
    chunks = [value[i:i + 5] for i in range(0, 30, 5)]
    return "".join(f"{int.from_bytes(chunk, 'big') % 100000:05}" for chunk in chunks)


def safety_number(v):
    realm = un64(v["realm"])
    halves = [
        half(realm, v["account"], un64(v["signing_key"])),
        half(realm, v["other_account"], un64(v["other_key"])),
    ]
    digits = "".join(sorted(halves))
    return {"digits": digits, "shown": " ".join(digits[i:i + 5] for i in range(0, 60, 5))}


KINDS = {
    "hello": hello, "bundle": bundle, "statement": statement, "grant": grant, "act": act, "direct": direct,
    "log": log, "roster": roster, "commitment": commitment, "chain": chain, "wrap": wrap, "token": token,
    "safety number": safety_number,
}


def main():
    failures = 0
    for number, vector in enumerate(VECTORS):
        made = KINDS[vector["kind"]](vector["input"])
        if made != vector["output"]:
            failures += 1
            print(f"vector {number} ({vector['kind']}) differs: {made}")
    if failures:
        sys.exit(1)
    print(f"{len(VECTORS)} vectors reproduced")


with open(sys.argv[1], encoding="utf-8") as file:
    VECTORS = json.load(file)["vectors"]
with open(sys.argv[2], "rb") as file:
    RSA = serialization.load_pem_private_key(file.read(), password=None)
main()
