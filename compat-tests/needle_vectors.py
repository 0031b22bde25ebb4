"""Writes the golden files of the volume formats with the independent reference, needle_ref.py. Needs `cryptography`.

    python3 compat-tests/needle_vectors.py OUT_DIR      (committed: volume/testdata/format/v1)

Everything is fixed, so that a second run gives the same bytes."""
import hashlib
import sys
from pathlib import Path

import needle_ref as ref

DEK, KEK = bytes(range(32)), b"K" * 32
CLUSTER, VOLUME, COLLECTION = b"C" * 16, bytes(range(16, 32)), b"L" * 16
KEK_ID = ref.kbkdf(KEK, b"halofs.root.id.v1\0", 64).hex().encode()


def salt(n):
    return hashlib.sha256(b"salt %d" % n).digest()[:24]


def text(n):
    return hashlib.shake_128(b"text %d" % n).digest(n)


def record(n, plain, **kw):
    return ref.seal(DEK, CLUSTER, VOLUME, plain, salt=salt(n), append_ns=1_700_000_000_000_000_000 + n, **kw)


def volume():
    """Two batches: needles of 0, 5 and 150,000 bytes, then a tombstone and an overwrite; space written ahead behind."""
    wrapped = ref.wrap(KEK, CLUSTER, COLLECTION, VOLUME, 0, DEK, b"N" * 12)
    sb = dict(cluster_uuid=CLUSTER, volume_uuid=VOLUME, collection_uuid=COLLECTION, volume_id=3, wrapped=wrapped,
              kek_id=KEK_ID, placement=1, created_ns=1_700_000_000_000_000_000, dek_gen=0)
    v = ref.superblock(DEK, seq=1, **sb) + ref.superblock(DEK, seq=2, **sb)
    chain = ref.chain_start(VOLUME, 0)
    batches = [
        [dict(plain=b"", key=1, cookie=11), dict(plain=b"hello", key=2, cookie=12), dict(plain=text(150_000), key=3, cookie=13)],
        [dict(plain=b"", key=1, cookie=11, flags=1), dict(plain=b"hello again", key=2, cookie=12)],
    ]
    n = 100
    for batch in batches:
        start, done = len(v), []
        for r in batch:
            r = record(n, **r)
            done.append((len(v), r))
            v, n = v + r, n + 1
        chain = ref.chain_next(chain, done)
        v, n = v + ref.mark(DEK, CLUSTER, VOLUME, 0, 7, start, len(v) - start, chain, salt=salt(n), append_ns=n), n + 1
    return v + bytes(4096)


def main(out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "empty.record": record(1, b""),
        "five.record": record(2, b"hello", key=0x1122334455667788, cookie=0xdeadbeef),
        "meta.record": record(3, b"mm" + text(1000), flags=4, meta_len=2, key=9),
        "ttl.record": record(4, b"x", flags=8, expire_s=60),
        "segments.record": record(5, text(12_288 + 1), seg_log2=12, key=5),
        "tombstone.record": record(6, b"", flags=1, key=6, cookie=7),
        "mark.record": ref.mark(DEK, CLUSTER, VOLUME, 4, 5, 8192, 112, hashlib.sha256(b"chain").digest(), salt=salt(7)),
        "3.vol": volume(),
    }
    for name, content in files.items():
        (out / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
