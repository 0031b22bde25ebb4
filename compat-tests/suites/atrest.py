"""What lies on the disk: no plaintext anywhere, and keys that do not fit are refused without touching anything."""

import base64
import hashlib
import os
import random
import re
import shutil

from harness.context import wait_for
from harness.records import flip
from harness.server import StartError
from harness.sigv4 import http

from .native import assign, multipart
from .s3_objects import want


def scan(root, needles):
    """(file, needle) pairs of every needle found in any file below root."""
    found, files, size = [], 0, 0
    for d, _, names in os.walk(root):
        for n in names:
            p = os.path.join(d, n)
            with open(p, "rb") as f:
                data = f.read()
            files, size = files + 1, size + len(data)
            found += [(os.path.relpath(p, root), label) for label, needle in needles if needle in data]
    return found, files, size


def test_canary(t):
    """64 random bytes, also as hex and base64, in everything a client can store: in no file, the logs included."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    needles, forms = [], []
    for where in ("body", "meta", "native", "form", "pair", "part", "gzip", "name-value", "copy", "type"):
        raw = os.urandom(64)
        for label, value in (("raw", raw), ("hex", raw.hex().encode()), ("base64", base64.b64encode(raw))):
            # 48 bytes are enough to know it again, wherever a line break or an escape may cut it.
            needles += [("%s %s" % (where, label), value[:48]), ("%s %s end" % (where, label), value[-44:-2])]
        forms.append((raw, raw.hex(), base64.b64encode(raw).decode()))
    for i in range(3):
        v = [f[i] if isinstance(f[i], bytes) else f[i].encode() for f in forms]
        text = [f[i] if i else f[1] for f in forms]
        pad = t.body(70_000, i)
        want(c.put("buc", "body%d" % i, pad + v[0] + pad).status, 200)
        want(c.put("buc", "small%d" % i, v[0]).status, 200)
        want(c.put("buc", "meta%d" % i, b"x", [("x-amz-meta-canary", text[1])]).status, 200)
        want(c.put("buc", "type%d" % i, b"x", [("content-type", "text/" + text[9].replace("/", "-")), ("content-disposition", 'inline; filename="%s"' % text[9])]).status, 200)
        fid = assign(s)["fid"]
        want(http(s.addr["volume"], "PUT", "/" + fid, [("Content-Type", "a/b")], v[2]).status, 201)
        h, b = multipart("f.bin", pad + v[3])
        want(http(s.addr["volume"], "POST", "/" + assign(s)["fid"], h, b).status, 201)
        h, b = multipart(text[7].replace("/", "-") + ".txt", b"named")
        want(http(s.addr["volume"], "POST", "/" + assign(s)["fid"], h + [("Seaweed-Canary", text[4])], b).status, 201)
        want(http(s.addr["volume"], "PUT", "/" + assign(s)["fid"], [("Content-Type", "text/plain")], v[6] + b" and plain text again" * 9000).status, 201)
        up = re.search(rb"<UploadId>(.*?)<", c.call("POST", "/buc/mp%d" % i, [("uploads", "")], [("x-amz-meta-canary", text[1])]).body).group(1).decode()
        etag = c.call("PUT", "/buc/mp%d" % i, [("partNumber", "1"), ("uploadId", up)], (), pad + v[5]).header("etag")
        if i:
            doc = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>" % etag
            want(c.call("POST", "/buc/mp%d" % i, [("uploadId", up)], (), doc.encode()).status, 200)
        want(c.put("buc", "over%d" % i, v[8]).status, 200)
        want(c.call("PUT", "/buc/copy%d" % i, (), [("x-amz-copy-source", "/buc/over%d" % i)]).status, 200)
        c.delete("buc", "over%d" % i)
        # Refused and broken requests must not leave the bytes in a log either.
        c.put("buc", "bad", v[0], [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")])
        c.put("buc", "bad2", b"x", [("x-amz-meta-canary", text[1] * 40)])
    with t.case("while running"):
        found, files, size = scan(s.data, needles)
        want(found, [])
        want(scan(os.path.dirname(s.log_path), needles)[0], [])
    s.kill()
    s.start()
    with t.case("after a kill and recovery"):
        want(scan(s.data, needles)[0], [])
    s.stop()
    with t.case("after a clean stop"):
        found, files, size = scan(s.data, needles)
        want(found, [])
        want(scan(os.path.dirname(s.log_path), needles)[0], [])
        assert files > 8 and size > 500_000, "the scan saw too little: %d files, %d bytes" % (files, size)
    with t.case("the scan can find"):
        with open(os.path.join(t.dir, "control"), "wb") as f:
            f.write(b"x" * 100 + needles[0][1])
        want(len(scan(t.dir, [needles[0]])[0]), 1)
    t.note("%d files, %d KiB searched for %d patterns" % (files, size >> 10, len(needles)))
    t.count("canaries", len(needles))


def digest(root):
    """A digest over every file's name and bytes."""
    out = {}
    for d, _, names in os.walk(root):
        for n in names:
            p = os.path.join(d, n)
            with open(p, "rb") as f:
                out[os.path.relpath(p, root)] = hashlib.sha256(f.read()).hexdigest()
    return out


def test_root_key(t):
    """A missing or wrong root key: refused with the key's id, nothing overwritten, and the right key opens all again."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    c.put("buc", "o", b"precious")
    fid = assign(s)["fid"]
    http(s.addr["volume"], "PUT", "/" + fid, body=b"native")
    key = os.path.join(s.data, "root.key")
    with t.case("mode and form"):
        want(os.stat(key).st_mode & 0o777, 0o600)
        with open(key) as f:
            assert re.fullmatch(r"[0-9a-f]{64}", f.read().strip())
        want(os.stat(os.path.join(s.data, "credentials")).st_mode & 0o777, 0o600)
    s.stop()
    shutil.copy(key, t.dir + "/saved")
    before = digest(s.data)

    def refused(label):
        with t.case(label):
            try:
                s.start(8)
                s.kill()
                raise AssertionError("started")
            except StartError as e:
                assert e.code not in (None, 0), e
                assert re.search(r"\b[0-9a-f]{16}\b", str(e)), "the key's id is not named: %s" % e
            after = digest(s.data)
            after.pop("root.key", None)
            same = {k: v for k, v in before.items() if k != "root.key" and not k.endswith("LOCK")}
            want({k: v for k, v in after.items() if k in same and v != same[k] and not k.split("/")[-1].startswith("LOG")}, {})
            assert label != "missing" or not os.path.exists(key), "a new key was made over existing data"
    os.unlink(key)
    refused("missing")
    with open(key, "w") as f:
        f.write(os.urandom(32).hex() + "\n")
    os.chmod(key, 0o600)
    refused("wrong")
    with open(key, "w") as f:
        f.write("not a key")
    with t.case("malformed"):
        try:
            s.start(8)
            raise AssertionError("started")
        except StartError as e:
            assert "root.key" in str(e), e
    shutil.copy(t.dir + "/saved", key)
    os.chmod(key, 0o644)
    with t.case("readable by others"):
        try:
            s.start(8)
            raise AssertionError("started")
        except StartError as e:
            assert "root.key" in str(e), e
    os.chmod(key, 0o600)
    s.start()
    with t.case("right again"):
        want(t.s3(s).get("buc", "o").body, b"precious")
        want(http(s.addr["volume"], "GET", "/" + fid).body, b"native")
    with t.case("key file elsewhere"):
        s.stop()
        shutil.move(key, t.dir + "/elsewhere.key")
        s.args.append("-key.file=" + t.dir + "/elsewhere.key")
        s.start()
        want(t.s3(s).get("buc", "o").body, b"precious")


def test_wal_flip(t):
    """A bit flipped in the middle of the filer's log: it refuses to start and names the file; the bit back, it starts."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    for i in range(200):
        c.put("buc", "k%03d" % i, b"x" * i, [("x-amz-meta-i", str(i))])
    s.kill()
    logs = []
    for d, _, names in os.walk(os.path.join(s.data, "filer")):
        logs += [os.path.join(d, n) for n in names if n.endswith(".log")]
    log = max(logs, key=os.path.getsize)
    size = os.path.getsize(log)
    assert size > 20_000, "the filer's log holds %d bytes" % size
    rng, named = random.Random(3), 0
    for n in range(12 if not t.full else 60):
        at, bit = rng.randrange(size // 10, size // 2), rng.randrange(8)
        saved = t.dir + "/saved"
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(s.data, saved)
        flip(log, at, bit)
        t.count("faults")
        with t.case("bit %d of byte %d" % (bit, at)):
            try:
                s.start(10)
                s.kill()
                raise AssertionError("started over a damaged log")
            except StartError as e:
                assert e.code not in (None, 0), e
                assert "filer" in str(e), e
                named += 1
        shutil.rmtree(s.data)
        shutil.copytree(saved, s.data)
    s.start()
    c = t.s3(s)
    wait_for("the undamaged store", lambda: c.get("buc", "k150").body == b"x" * 150)
    want(c.call("GET", "/buc", [("list-type", "2")]).body.count(b"<Key>"), 200)
    t.note("%d flips in the log, each refused by name" % named)
