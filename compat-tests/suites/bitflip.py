"""Single flipped bits in stored records: a read answers the right bytes or an error, never anything else."""

import glob
import os
import random
import shutil

from harness.records import flip, records, volumes
from harness.sigv4 import http

from .native import assign
from .s3_objects import want

SIZES = [0, 1, 50, 1000, 5000, 66_000, 140_000]


class Planted:
    """Objects and fids with known bytes, some overwritten, some deleted."""

    def __init__(self, t, s):
        self.s, self.c, self.want, self.old = s, t.s3(s), {}, {}
        want(self.c.call("PUT", "/buc").status, 200)
        for i in range(28):
            size = SIZES[i % len(SIZES)]
            self.c.put("buc", "o%d" % i, t.body(size, "old%d" % i))
            if i % 3 == 0:
                self.c.put("buc", "o%d" % i, t.body(size, "new%d" % i))
            self.want["o%d" % i] = t.body(size, ("new%d" if i % 3 == 0 else "old%d") % i)
            fid = assign(s)["fid"]
            data = t.body(size, "n%d" % i) if i % 4 else b"compressible text " * (size // 10 + 1)
            put = lambda d: want(http(s.addr["volume"], "PUT", "/" + fid, [("Content-Type", "text/plain")], d).status, 201)
            put(data)
            self.want["/" + fid] = data
            if i % 5 == 0:
                put(data + b" second")
                self.want["/" + fid], self.old["/" + fid] = data + b" second", data
            if i % 7 == 0:
                want(http(s.addr["volume"], "DELETE", "/" + fid).status, 202)
                self.want["/" + fid] = None

    def get(self, name):
        if name.startswith("/"):
            return http(self.s.addr["volume"], "GET", name)
        return self.c.get("buc", name)

    def check(self, rebuilt=False):
        """Wrong answers; also how many reads were refused. After a rebuild of the index a fid whose only record is
        unreadable may be unknown (404): no wrong byte left. An S3 object never is, for the filer knows it."""
        wrong, refused = [], 0
        for name in self.want:
            try:
                r = self.get(name)
            except OSError:
                refused += 1
                self.c.close()
                continue
            expected = self.want[name]
            if r is None or r.status >= 500 or not r.complete:
                refused += 1
            elif r.status == 404:
                refused += expected is not None
                if expected is not None and not (rebuilt and name.startswith("/")):
                    wrong.append("%s answered 404" % name)
            elif r.status != 200 or expected is None or r.body != expected:
                wrong.append("%s answered %d, %d bytes%s" % (name, r.status, len(r.body), ", the older version" if r.body == self.old.get(name, 0) else ""))
        return wrong, refused


def targets(data):
    """Every record that is not a mark, and the marks apart."""
    plain, marks = [], []
    for path in volumes(data).values():
        for r in records(path):
            (marks if r.mark else plain).append(r)
    return plain, marks


def pick(rng, r):
    """A bit of the record: half the time in its header, for that is small and decides most."""
    return r.offset + (rng.randrange(88) if rng.random() < 0.5 else rng.randrange(r.length)), rng.randrange(8)


def test_running(t):
    """100 flips under a running server; the bit is turned back after each look."""
    s = t.server()
    p, rng, refused = Planted(t, s), random.Random(11), 0
    plain, marks = targets(s.data)
    assert len(plain) > 60, "%d records" % len(plain)
    for n in range(100):
        r = rng.choice(plain)
        at, bit = pick(rng, r)
        flip(r.path, at, bit)
        t.count("faults")
        with t.case("flip %d" % n):
            wrong, no = p.check()
            refused += no > 0
            want(wrong, [])
        flip(r.path, at, bit)
    with t.case("all bits back"):
        want(p.check(), ([], 0))
    t.note("100 flips, %d of them refused at a read, the rest in bytes no read needs" % refused)
    assert refused > 10, "flips hit nothing: %d" % refused


def test_at_rest(t):
    """100 flips in stopped volumes; the server starts over each damaged file, index rebuilt or from its checkpoint."""
    s = t.server()
    p, rng = Planted(t, s), random.Random(12)
    s.stop()
    saved = t.dir + "/saved"
    shutil.copytree(s.data, saved)
    plain, marks = targets(s.data)
    refused = starts = 0
    for n in range(100):
        r = rng.choice(plain if n % 6 else marks)
        at, bit = pick(rng, r)
        flip(r.path, at, bit)
        t.count("faults")
        if n % 2:
            for f in glob.glob(s.data + "/volumes/**/*.ckpt", recursive=True):
                os.unlink(f)
        with t.case("flip %d: byte %d of a record of %d, flags %d, checkpoint %s" % (n, at - r.offset, r.length, r.flags, "gone" if n % 2 else "kept")):
            s.start()
            starts += 1
            p.c = t.s3(s)
            wrong, no = p.check(rebuilt=True)
            refused += no > 0
            want(wrong, [])
        s.kill()
        shutil.rmtree(s.data)
        shutil.copytree(saved, s.data)
    s.start()
    p.c = t.s3(s)
    with t.case("undamaged"):
        want(p.check(), ([], 0))
    t.note("100 flips, %d starts, %d with refused reads" % (starts, refused))
