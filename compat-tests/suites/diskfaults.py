"""Disks that fail: a sync that reports an error, and a disk that is full."""

import json
import os
import subprocess

from harness.context import wait_for
from harness.loopdev import LoopFs
from harness.sigv4 import http

from .native import assign
from .s3_objects import want

SYNCS = "fsync,fdatasync,sync_file_range,msync,syncfs"


def test_fsync_error(t):
    """While every sync fails nothing is acknowledged; the fence stays after the disk works again; a restart brings back
    all that was acknowledged."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    for i in range(20):
        want(c.put("buc", "before%d" % i, b"%d" % i).status, 200)
    fid = assign(s)["fid"]
    want(http(s.addr["volume"], "PUT", "/" + fid, body=b"native").status, 201)
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(s.pid), "-e", "trace=" + SYNCS, "-e", "inject=%s:error=EIO" % SYNCS, "-o", t.dir + "/strace"],
                              stderr=subprocess.PIPE)

    def attached():
        with open("/proc/%d/status" % s.pid) as f:
            return "TracerPid:\t0\n" not in f.read() or tracer.poll() is not None
    wait_for("strace to attach", attached)
    assert tracer.poll() is None, tracer.stderr.read()
    acked = []
    for i in range(12):
        t.count("faults")
        try:
            r = c.put("buc", "during%d" % i, b"d%d" % i)
            if r.status == 200:
                acked.append("during%d" % i)
            n = http(s.addr["volume"], "PUT", "/" + fid, body=b"overwrite %d" % i)
            if n is not None and n.status in (200, 201):
                acked.append("native %d" % i)
        except OSError:
            c.close()
    with t.case("nothing is acknowledged while syncs fail"):
        want(acked, [])
        with open(t.dir + "/strace") as f:
            assert "EIO" in f.read(), "no sync was made to fail"
    tracer.terminate()
    tracer.wait()
    with t.case("reads go on"):
        if s.alive():
            want(http(s.addr["volume"], "GET", "/" + fid).body, b"native")
    with t.case("the fence stays: that volume takes no write until it was read from the disk again"):
        if s.alive():
            r = http(s.addr["volume"], "PUT", "/" + fid, body=b"after")
            assert r.status >= 500, r
    if s.alive():
        s.stop()
    else:
        s.kill()
    s.start()
    c = t.s3(s)
    with t.case("after a restart"):
        for i in range(20):
            want(c.get("buc", "before%d" % i).body, b"%d" % i)
        want(http(s.addr["volume"], "GET", "/" + fid).body in [b"native"] + [b"overwrite %d" % i for i in range(12)], True)
        want(c.put("buc", "again", b"x").status, 200)
        want(http(s.addr["volume"], "PUT", "/" + fid, body=b"writable again").status, 201)


def test_full_disk(t):
    """Over the hard watermark writes answer 507 and 503, reads and deletes work, and it clears by itself."""
    t.need_root("it mounts a small file system")
    fs = LoopFs(t.dir, 768 << 20)
    t.after(fs.destroy)
    ballast = os.path.join(fs.point, "ballast")
    with open(ballast, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, 250 << 20)
    s = t.server(data=os.path.join(fs.point, "data"))
    t.after(s.kill)
    c = t.s3(s)
    want(c.call("PUT", "/buc").status, 200)
    stored, refusal = [], None
    fids = [assign(s)["fid"]]
    want(http(s.addr["volume"], "PUT", "/" + fids[0], body=b"kept").status, 201)
    for i in range(900):
        r = c.put("buc", "o%d" % i, t.body(1 << 20, i))
        if r.status != 200:
            refusal = r
            break
        stored.append(i)
    t.count("faults")
    with t.case("S3 says 503 with a plain message"):
        assert refusal is not None, "900 MiB went into 768 MiB"
        want(refusal.status, 503)
        assert b"space" in refusal.body.lower() or b"full" in refusal.body.lower(), refusal
    with t.case("native says 507"):
        # The native volume may have room of its own left when the S3 volumes are full.
        for i in range(1, 600):
            r = http(s.addr["volume"], "PUT", "/%s_%d" % (fids[0], i), body=t.body(1 << 20, "n%d" % i))
            if r.status != 201:
                break
        want(r.status, 507)
        assert json.loads(r.body)["error"]
    with t.case("reads work"):
        want(c.get("buc", "o0").body, t.body(1 << 20, 0))
        want(c.get("buc", "o%d" % stored[-1]).body, t.body(1 << 20, stored[-1]))
    with t.case("deletes work"):
        for i in stored[:10]:
            want(c.delete("buc", "o%d" % i).status, 204)
        want(http(s.addr["volume"], "DELETE", "/" + fids[0]).status, 202)
        want(c.get("buc", "o0").status, 404)
    with t.case("clears by itself"):
        os.unlink(ballast)
        wait_for("writes to work again", lambda: c.put("buc", "later", b"x" * 100_000).status == 200, timeout=90, every=0.5)
        wait_for("native writes to work again", lambda: http(s.addr["volume"], "PUT", "/" + assign_quietly(s, fids[0]), body=b"n").status == 201, timeout=60, every=0.5)
    with t.case("restart on a nearly full disk"):
        s.kill()
        s.start()
        c = t.s3(s)
        for i in stored[10:20]:
            want(c.get("buc", "o%d" % i).body, t.body(1 << 20, i))
    s.stop()


def assign_quietly(s, fallback):
    r = http(s.addr["main"], "GET", "/dir/assign")
    return json.loads(r.body).get("fid", fallback) if r.status == 200 else fallback
