"""A running load of S3 and native requests whose every effect the oracle can judge, and the check after a restart."""

import base64
import hashlib
import json
import random
import re
import threading
import time

from awscrt.checksums import crc32c

from .context import body
from .oracle import ABSENT, Oracle, Value
from .sigv4 import S3, UNSIGNED, http

BUCKET = "load"
KEYS = ["k%02d" % i for i in range(24)] + ["dir/a b+%d" % i for i in range(6)] + ["dir/ü%d" % i for i in range(4)]
SIZES = [0, 1, 100, 4096, 4096, 4096, 65535, 65537, 300_000]
LOST = (OSError, ConnectionError, AssertionError, ValueError)


class Load:
    """Writers over one server. `problems` collects answers that no correct store gives."""

    def __init__(self, seed, s3_writers=5, native_writers=2, big=True):
        self.oracle, self.rng, self.big = Oracle(), random.Random(seed), big
        self.s3_writers, self.native_writers = s3_writers, native_writers
        self.problems, self.stop, self.threads = [], threading.Event(), []
        self.reads = 0
        self.fids = []

    # ---- running
    def begin(self, server):
        self.stop.clear()
        self.server, self.keys = server, server.credentials()
        self.threads = [threading.Thread(target=self.loop, args=(self.s3_step, self.rng.random()), daemon=True) for _ in range(self.s3_writers)]
        self.threads += [threading.Thread(target=self.loop, args=(self.native_step, self.rng.random()), daemon=True) for _ in range(self.native_writers)]
        for t in self.threads:
            t.start()

    def end(self):
        """The server is gone: nothing that was open will be answered."""
        self.stop.set()
        for t in self.threads:
            t.join(40)
            if t.is_alive():
                self.problems.append("a client still waits for an answer 40 s after the server ended")
        self.oracle.crashed()

    def loop(self, step, seed):
        rng, client = random.Random(seed), S3(self.server.addr["s3"], self.keys, tls=self.server.tls, timeout=30)
        while not self.stop.is_set():
            try:
                step(rng, client)
            except LOST:
                client.close()
                if not self.server.alive():
                    return
                time.sleep(0.01)

    # ---- S3
    def s3_step(self, rng, c):
        key, dice = rng.choice(KEYS), rng.random()
        if dice < 0.58:
            self.put(rng, c, key)
        elif dice < 0.72:
            self.delete(c, key)
        elif dice < 0.76:
            self.delete_many(c, rng.sample(KEYS, 3))
        elif dice < 0.82:
            self.multipart(rng, c, key)
        else:
            self.read(c, key)

    def put(self, rng, c, key):
        ident = self.oracle.next_id()
        size = rng.choice(SIZES) if not self.big or rng.random() > 0.01 else (8 << 20) + 1
        data = body(size, ident)
        value = Value(ident, data)
        op = self.oracle.sent(key, value)
        r = c.put(BUCKET, key, data, list(value.meta.items()), payload=None if rng.random() < 0.5 else UNSIGNED)
        if r.status == 200 and r.header("etag") != '"%s"' % value.etag:
            self.problems.append("PUT answered ETag %s, sent %s" % (r.header("etag"), value.etag))
        self.finish(key, op, r, (200,))

    def finish(self, key, op, r, good):
        if r.status in good:
            self.oracle.ack(op)
        elif r.status < 500 and r.status not in (409,):
            self.problems.append("%s: unexpected answer %r" % (key, r))

    def delete(self, c, key):
        op = self.oracle.sent(key, ABSENT)
        self.finish(key, op, c.delete(BUCKET, key), (204,))

    def delete_many(self, c, keys):
        ops = {k: self.oracle.sent(k, ABSENT) for k in keys}
        doc = ("<Delete>" + "".join("<Object><Key>%s</Key></Object>" % k for k in keys) + "</Delete>").encode()
        md5 = base64.b64encode(hashlib.md5(doc).digest()).decode()
        r = c.call("POST", "/" + BUCKET, [("delete", "")], [("content-md5", md5)], doc)
        if r.status != 200:
            return self.finish(keys[0], ops[keys[0]], r, ())
        for k in re.findall(r"<Deleted>.*?<Key>(.*?)</Key>.*?</Deleted>", r.body.decode(), re.S):
            if k in ops:
                self.oracle.ack(ops[k])

    def multipart(self, rng, c, key):
        ident, path = self.oracle.next_id(), c.path_of(BUCKET, key)
        sizes = [(5 << 20), 70_000] if self.big and rng.random() < 0.12 else [rng.choice(SIZES[1:])]
        parts = [body(n, ident + "." + str(i)) for i, n in enumerate(sizes)]
        digests = [hashlib.md5(p).digest() for p in parts]
        value = Value(ident, b"".join(parts), "%s-%d" % (hashlib.md5(b"".join(digests)).hexdigest(), len(parts)))
        r = c.call("POST", path, [("uploads", "")], list(value.meta.items()))
        if r.status != 200:
            return
        upload = re.search(r"<UploadId>(.*?)</UploadId>", r.body.decode()).group(1)
        doc = "<CompleteMultipartUpload>"
        for i, p in enumerate(parts, 1):
            r = c.call("PUT", path, [("partNumber", str(i)), ("uploadId", upload)], (), p)
            if r.status != 200:
                return
            doc += "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (i, r.header("etag"))
        op = self.oracle.sent(key, value)
        r = c.call("POST", path, [("uploadId", upload)], (), (doc + "</CompleteMultipartUpload>").encode())
        if r.status == 200 and b"<Error>" in r.body:
            return
        self.finish(key, op, r, (200,))

    def read(self, c, key):
        before = time.monotonic()
        wrong = self.judge(key, c.get(BUCKET, key), before)
        self.reads += 1
        if wrong:
            self.problems.append("while running: " + wrong)

    def judge(self, key, r, before=None, bodyless=False):
        """Why this answer is not what exactly one sent PUT left, or None; remembers what was seen."""
        allowed = self.oracle.admissible(key, before)
        self.seen = ABSENT
        if r.status == 404:
            return None if ABSENT in allowed else "%s is gone, allowed %s:\n    %s" % (key, [v.id for v in allowed], self.oracle.story(key))
        if r.status != 200:
            return None if before is not None and r.status in (500, 503) else "%s: %r" % (key, r)
        if not r.complete:
            return None if before is not None else "%s: the body broke off" % key
        ident = r.header("x-amz-meta-op", r.header("op"))
        value = next((v for v in allowed if v is not ABSENT and v.id == ident), None)
        if value is None:
            return "%s shows put %s, allowed %s:\n    %s" % (key, ident, [getattr(v, "id", v) for v in allowed], self.oracle.story(key))
        self.seen = value
        got = {"size": int(r.header("content-length", len(r.body))), "etag": r.header("etag"), "type": r.header("content-type")}
        want = {"size": value.size, "etag": '"%s"' % value.etag,
                "type": value.meta["content-type"] if "x-amz-meta-op" in r.headers else got["type"]}
        if got != want:
            return "%s (put %s): shows %s, sent %s" % (key, ident, got, want)
        if not bodyless and hashlib.sha256(r.body).digest() != value.sha:
            return "%s (put %s): wrong bytes" % (key, ident)
        return None

    # ---- native
    def native_step(self, rng, _):
        dice = rng.random()
        main, volume = self.server.addr["main"], self.server.addr["volume"]
        if dice < 0.45 or not self.fids:
            r = http(main, "GET", "/dir/assign")
            if r is None or r.status != 200:
                return
            fid = json.loads(r.body)["fid"]
            self.fids.append(fid)
            self.upload(rng, volume, fid)
        elif dice < 0.72:
            self.upload(rng, volume, rng.choice(self.fids[-60:]))
        elif dice < 0.85:
            fid = rng.choice(self.fids[-60:])
            op = self.oracle.sent("/" + fid, ABSENT)
            r = http(volume, "DELETE", "/" + fid)
            if r is not None:
                self.finish(fid, op, r, (202, 404))
        else:
            fid, before = rng.choice(self.fids[-60:]), time.monotonic()
            r = http(volume, "GET", "/" + fid)
            wrong = r is not None and self.judge("/" + fid, r, before)
            self.reads += 1
            if wrong:
                self.problems.append("while running: " + wrong)

    def upload(self, rng, volume, fid):
        ident = self.oracle.next_id()
        # Not a byte or two: equal bytes are a 204 that keeps the older upload.
        data = body(rng.choice(SIZES[2:]), ident)
        kind = "application/octet-stream"
        if rng.random() < 0.3:
            data, kind = data.hex().encode(), "text/plain"
        value = Value(ident, data, "%08x" % crc32c(data))
        op = self.oracle.sent("/" + fid, value)
        r = http(volume, "PUT", "/" + fid, [("Content-Type", kind), ("Seaweed-Op", ident)], data)
        if r is not None:
            self.finish(fid, op, r, (200, 201, 204))

    # ---- after a restart
    def verify(self, server, sample=0):
        """Reads back every S3 key, what may have changed natively and `sample` other fids; returns the problems
        found and settles the oracle."""
        c, o, found = S3(server.addr["s3"], self.keys, tls=server.tls, timeout=60), self.oracle, []
        problems = list(self.problems)
        self.problems.clear()
        quiet = [k for k in o.keys() if k.startswith("/") and k not in o.dirty]
        keys = [k for k in o.keys() if not k.startswith("/")] + [k for k in o.dirty if k.startswith("/")]
        keys += self.rng.sample(quiet, min(sample, len(quiet)))
        for key in keys:
            native = key.startswith("/")
            r = http(server.addr["volume"], "GET", key) if native else c.get(BUCKET, key)
            wrong = self.judge(key, r)
            seen = self.seen
            if not wrong:
                h = http(server.addr["volume"], "HEAD", key) if native else c.head(BUCKET, key)
                wrong = self.judge(key, h, bodyless=True)
                if not wrong and seen is not self.seen:
                    wrong = "%s: GET and HEAD show different puts" % key
            if wrong:
                problems.append(wrong)
            else:
                o.observed(key, seen)
                if seen is not ABSENT and not native:
                    found.append((key, seen))
        problems += self.compare_listing(c, dict(found))
        c.close()
        return problems

    def compare_listing(self, c, want):
        got, token, problems = {}, None, []
        while True:
            q = [("list-type", "2"), ("max-keys", "13")] + ([("continuation-token", token)] if token else [])
            text = c.call("GET", "/" + BUCKET, q).body.decode()
            for e in re.findall(r"<Contents>(.*?)</Contents>", text, re.S):
                field = dict(re.findall(r"<(Key|ETag|Size)>(.*?)</", e))
                got[field["Key"]] = (int(field["Size"]), field["ETag"].replace("&quot;", '"').strip('"'))
            token = re.search(r"<NextContinuationToken>(.*?)</", text)
            if not token:
                break
            token = token.group(1)
        for k in sorted(set(got) | set(want)):
            w = (want[k].size, want[k].etag) if k in want else None
            if got.get(k) != w:
                problems.append("LIST shows %s as %s, GET as %s" % (k, got.get(k), w))
        return problems
