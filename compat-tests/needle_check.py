"""Reads a volume file with the independent reference and prints one line a record:
offset, flags, key, cookie, commit, SHA-256 of the plaintext.  Usage: needle_check.py FILE.vol ROOT_KEY_HEX"""
import hashlib
import sys

import needle_ref as ref

with open(sys.argv[1], "rb") as f:
    volume = f.read()
for offset, h, plain in ref.walk(volume, bytes.fromhex(sys.argv[2])):
    print(offset, h["flags"], h["key"], h["cookie"], h["commit"].hex(), hashlib.sha256(plain).hexdigest())
