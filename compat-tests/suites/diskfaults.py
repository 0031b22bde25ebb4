"""Disks that fail: a sync that reports an error, a disk that is full, one that is not there."""

import json
import os
import subprocess

from harness.context import wait_for
from harness.loopdev import LoopFs
from harness.server import StartError
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


def fill_to_the_last_byte(path):
    """Other programs take what is left: ENOSPC for everybody."""
    left = 64 << 20
    size = 0
    with open(path, "wb", buffering=0) as f:
        while left >= 512:
            try:
                os.posix_fallocate(f.fileno(), size, left)
                size += left
            except OSError:
                left //= 2
        try:
            while True:
                f.write(b"x" * 512)
        except OSError:
            pass


def test_enospc(t):
    """Not a byte is left, for another program took them all: writes are refused and nothing that was acknowledged is lost,
    neither when space comes back while the server runs nor over a kill on the full disk."""
    t.need_root("it mounts a small file system")
    fs = LoopFs(t.dir, 768 << 20)
    t.after(fs.destroy)
    ballast = os.path.join(fs.point, "ballast")
    s = t.server(data=os.path.join(fs.point, "data"))
    t.after(s.kill)
    c = t.s3(s)
    want(c.call("PUT", "/buc").status, 200)
    stored, natives = {}, {}

    def write(name, n):
        try:
            r = c.put("buc", name, t.body(n, name))
            if r.status == 200:
                stored[name] = n
            return r.status
        except OSError:
            c.close()
            return 0

    def write_native(name, n):
        a = http(s.addr["main"], "GET", "/dir/assign")
        fid = json.loads(a.body).get("fid") if a.status == 200 else fids[0]
        r = http(s.addr["volume"], "PUT", "/" + fid, body=t.body(n, name))
        if r.status in (200, 201):
            natives[fid] = (name, n)
        return r.status

    def all_there():
        for name, n in stored.items():
            want(c.get("buc", name).body, t.body(n, name))
        for fid, (name, n) in natives.items():
            want(http(s.addr["volume"], "GET", "/" + fid).body, t.body(n, name))

    fids = [assign(s)["fid"]]
    for i in range(40):
        want(write("before%d" % i, 1000 + i * 20_000), 200)
        want(write_native("native%d" % i, 500 + i * 3000), 201)
    rounds = 3
    for round in range(rounds):
        t.count("faults")
        fill_to_the_last_byte(ballast)
        with t.case("round %d: S3 says 503 and native 507" % round):
            # The first ones may find space that was written ahead.
            wait_for("S3 to refuse", lambda: write("full%d-%d" % (round, len(stored)), 300_000) == 503, timeout=30, every=0.1)
            wait_for("native to refuse", lambda: write_native("full", 300_000) == 507, timeout=30, every=0.1)
        with t.case("round %d: what was acknowledged is read on the full disk" % round):
            all_there()
        if round == rounds - 1:
            s.kill()
            os.unlink(ballast)
            s.start()
            c = t.s3(s)
        else:
            os.unlink(ballast)
        with t.case("round %d: writes and deletes work again by themselves" % round):
            wait_for("S3 to write again", lambda: write("after%d" % round, 200_000) == 200, timeout=90, every=0.3)
            wait_for("native to write again", lambda: write_native("after%d" % round, 200_000) == 201, timeout=60, every=0.3)
            want(c.delete("buc", "before%d" % round).status, 204)
            del stored["before%d" % round]
            all_there()
    with t.case("all of it is there after a clean restart"):
        s.stop()
        s.start()
        c = t.s3(s)
        all_there()
        listed = c.call("GET", "/buc", [("list-type", "2"), ("max-keys", "1000")]).body
        for name in stored:
            assert b"<Key>%s</Key>" % name.encode() in listed, name
    s.stop()


def test_lost_disk(t):
    """A folder of volumes that is gone, empty or another one stops the start by name, and nothing is made in its place."""
    s = t.server()
    c = t.s3(s)
    want(c.call("PUT", "/buc").status, 200)
    want(c.put("buc", "o", b"kept").status, 200)
    s.stop()
    volumes, away = os.path.join(s.data, "volumes"), os.path.join(s.data, "away")
    os.rename(volumes, away)

    def refused(expect):
        t.count("faults")
        try:
            s.start(10)
        except StartError as e:
            assert e.code not in (None, 0) and expect in str(e), e
            return
        raise AssertionError("the server started without its volumes")

    with t.case("gone"):
        refused("volumes is missing or empty")
        assert not os.path.exists(volumes)
    with t.case("an empty mount point"):
        os.mkdir(volumes)
        refused("volumes is missing or empty")
        want(os.listdir(volumes), [])
    with t.case("gone, and nothing but main remembers"):
        mark = os.path.join(s.data, "volumes.uuid")
        os.rename(mark, mark + ".away")
        refused("main knows")
        want(os.listdir(volumes), [])
        os.rename(mark + ".away", mark)
    with t.case("another one"):
        other = t.server()
        other.stop()
        os.rmdir(volumes)
        os.rename(os.path.join(other.data, "volumes"), volumes)
        refused("is the folder of volumes")
        os.rename(volumes, os.path.join(other.data, "volumes"))
    with t.case("back again"):
        os.rename(away, volumes)
        s.start()
        want(t.s3(s).get("buc", "o").body, b"kept")
    s.stop()
