"""Prints the public half of an Ed25519 key in a PEM file, as chat-client names it. Arguments: the file, its passphrase."""

import base64
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

with open(sys.argv[1], "rb") as file:
    key = load_pem_private_key(file.read(), sys.argv[2].encode() or None)
public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
print("ed25519:" + base64.b64encode(public).decode())
