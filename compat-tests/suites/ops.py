"""Running it: start, stop, locks, flags, limits, logs, connections."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from harness.context import wait_for
from harness.server import StartError
from harness.sigv4 import Wire, http

from .s3_objects import want


def cli(t, *args, timeout=20, env=None):
    return t.sh(t.run.binary, *args, check=False, timeout=timeout, env=env)


def test_start(t):
    """First start and restart in under a second; what is printed; files made."""
    s = t.server()
    with t.case("first start under 1 s"):
        assert s.ready_seconds < 1.0, s.ready_seconds
    with t.case("ready line names every port"):
        want(sorted(s.addr), ["filer", "main", "s3", "volume"])
        assert all(not a.endswith(":0") for a in s.addr.values())
    text = s.stdout.decode()
    with t.case("where the credentials are, and what to back up"):
        assert os.path.join(s.data, "credentials") in text, text
        assert "root.key" in text and re.search("back ?up", text, re.I), text
        assert s.credentials()[1] not in text, "the secret was printed"
    c = t.s3(s)
    c.call("PUT", "/buc")
    for i in range(300):
        c.put("buc", "k%d" % i, b"x" * 3000)
    for how in ("stop", "kill"):
        getattr(s, how)()
        s.start()
        with t.case("start after %s under 1 s" % how):
            assert s.ready_seconds < 1.0, s.ready_seconds
    with t.case("second start does not print the first-start text"):
        want(t.s3(s).get("buc", "k5").body, b"x" * 3000)
    with t.case("environment overrides the credentials"):
        s.stop()
        s.env.update(HALOFS_ACCESS_KEY="AKENV", HALOFS_SECRET_KEY="secret-of-the-environment")
        s.start()
        from harness.sigv4 import S3
        want(S3(s.addr["s3"], ("AKENV", "secret-of-the-environment")).get("buc", "k5").status, 200)


def test_stop(t):
    """SIGTERM under load: under 10 s, exit 0, requests in flight finish, acknowledged objects stay."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    acked, stop = [], threading.Event()

    def load(n):
        x = t.s3(s)
        i = 0
        while not stop.is_set():
            try:
                if x.put("buc", "k%d-%d" % (n, i), b"v" * 20_000).status == 200:
                    acked.append("k%d-%d" % (n, i))
            except OSError:
                return
            i += 1
    threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
    for x in threads:
        x.start()
    idle = socket.create_connection(tuple(s.addr["s3"].rsplit(":", 1)))
    time.sleep(1)
    seconds, code = s.stop()
    stop.set()
    for x in threads:
        x.join()
    idle.close()
    with t.case("under 10 s with exit 0"):
        assert seconds < 10, seconds
        want(code, 0)
    t.note("stopped in %.2f s, %d acknowledged writes" % (seconds, len(acked)))
    s.start()
    with t.case("all there"):
        c = t.s3(s)
        assert len(acked) > 50
        want([k for k in acked if c.get("buc", k).status != 200], [])
    with t.case("SIGINT stops as well"):
        s.signal(signal.SIGINT)
        want(s.proc.wait(10), 0)


def test_refusals(t):
    """What must not start, and says why."""
    s = t.server()
    with t.case("second server on the same directory"):
        other = t.server(data=s.data, start=False)
        try:
            other.start(8)
            raise AssertionError("two servers on one directory")
        except StartError as e:
            assert e.code not in (None, 0) and re.search("lock|in use|another", str(e), re.I), e
        want(http(s.addr["main"], "GET", "/healthz").status, 200)
    for args, expect in ((["-s3.prt=0"], "s3.port"), (["-dirr=/x"], "dir"), (["-volumeSizeLimitMB=lots"], "volumeSizeLimitMB"), (["-volumeSizeLimitMB=32769"], "64..=32768"), (["-s3.config=/no/such/file"], "/no/such/file")):
        with t.case("flag " + args[0]):
            r = cli(t, "server", "-dir=" + t.dir + "/never", "-main.port=0", "-volume.port=0", "-filer.port=0", "-s3.port=0", *args)
            assert r.returncode != 0 and expect in r.err + r.out, (r.returncode, r.out, r.err)
    with t.case("unknown command"):
        r = cli(t, "servr")
        assert r.returncode != 0 and "server" in r.err + r.out, r.err
    with t.case("listening beyond this machine without -insecure"):
        r = cli(t, "server", "-dir=" + t.dir + "/never", "-ip=0.0.0.0", "-main.port=0", "-volume.port=0", "-filer.port=0", "-s3.port=0")
        assert r.returncode != 0 and "insecure" in r.err + r.out, (r.returncode, r.err)
    with t.case("a port that is taken"):
        r = cli(t, "server", "-dir=" + t.dir + "/never2", "-ip=127.0.0.1", "-main.port=0", "-volume.port=0", "-filer.port=0", "-s3.port=" + s.addr["s3"].rsplit(":", 1)[1])
        assert r.returncode != 0 and s.addr["s3"].rsplit(":", 1)[1] in r.err + r.out, r.err
    with t.case("go-style flags"):
        for style in (["--s3.region=eu-test-1"], ["-s3.region", "eu-test-1"]):
            x = t.server(*style)
            c = t.s3(x)
            want(c.call("PUT", "/buc").status, 200)
            want(c.call("HEAD", "/buc").header("x-amz-bucket-region"), "eu-test-1")
            x.kill()
    with t.case("version and help"):
        assert re.search(r"\d+\.\d+\.\d+", cli(t, "version").out)
        assert "-dir" in cli(t, "server", "-h").out + cli(t, "server", "-h").err


def test_settings(t):
    """Flags over environment over file over defaults; -fsync=false is loud."""
    s = t.server("-fsync=false")
    with t.case("-fsync=false is printed and measured"):
        assert re.search("fsync", s.stdout.decode() + s.log(), re.I)
        assert b"fsync" in http(s.addr["main"], "GET", "/metrics").body.lower() or b"fsync" in http(s.addr["volume"], "GET", "/metrics").body.lower()
        c = t.s3(s)
        c.call("PUT", "/buc")
        c.put("buc", "o", b"x")
        s.stop()
        s.start()
        want(t.s3(s).get("buc", "o").body, b"x")
    s.kill()
    x = t.server(start=False)
    x.env["HALOFS_S3_REGION"] = "env-region-1"
    x.start()
    with t.case("environment"):
        want(region(t, x), "env-region-1")
        x.kill()
    with t.case("flag over environment"):
        x.args = ["-s3.region=flag-region-1"]
        x.start()
        want(region(t, x), "flag-region-1")


def region(t, s):
    from harness.sigv4 import S3
    for r in ("us-east-1", "env-region-1", "flag-region-1"):
        a = S3(s.addr["s3"], s.credentials(), region=r).call("PUT", "/regionb")
        if a.status in (200, 409):
            return S3(s.addr["s3"], s.credentials(), region=r).call("HEAD", "/regionb").header("x-amz-bucket-region")
    return None


def test_logs(t):
    """One line a request at its end; no secret in it."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/logged-bucket")
    c.put("logged-bucket", "logged-key-1", b"x" * 1234)
    rid = c.get("logged-bucket", "missing-key").header("x-amz-request-id")
    wait_for("the request's line", lambda: rid in s.log() + s.stdout.decode(errors="replace"), timeout=5)
    with t.case("one line"):
        lines = [x for x in s.log().splitlines() if rid in x]
        want(len(lines), 1)
        assert "404" in lines[0], lines
    with t.case("the caller's access key, and nobody where nobody is known"):
        access = s.credentials()[0]
        asked = {c.get("logged-bucket", "logged-key-1").header("x-amz-request-id"): access,
                 c.get("logged-bucket", "logged-key-1", [("range", "no range")]).header("x-amz-request-id"): access,
                 c.call("GET", "/logged-bucket", secret="wrong").header("x-amz-request-id"): "-",
                 http(s.addr["s3"], "GET", "/logged-bucket", tls=s.tls).header("x-amz-request-id"): "anonymous",
                 http(s.addr["volume"], "GET", "/status").header("x-amz-request-id"): "-"}
        for rid, who in asked.items():
            wait_for("the request's line", lambda: rid in s.log(), timeout=5)
            line = next(x for x in s.log().splitlines() if rid in x)
            want(re.search(r"caller=(\S+)|\"caller\":\"(.*?)\"", line).group(1), who)
    with t.case("no secret"):
        assert s.credentials()[1] not in s.log()
        c2 = c.presign("GET", "/logged-bucket/logged-key-1")
        sig = c2.split("X-Amz-Signature=")[1]
        http(s.addr["s3"], "GET", c2)
        time.sleep(0.2)
        assert sig not in s.log(), "a presigned signature is in the log"


def test_connections(t):
    """Idle, slow and many connections do not keep others out."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    c.put("buc", "o", b"x" * 2_000_000)
    idle = [Wire(s.addr["s3"], timeout=70) for _ in range(300)]
    slow = Wire(s.addr["s3"], timeout=70)
    slow.send(b"GET /buc HTTP/1.1\r\nHost: x\r\nX-A: ")
    half = Wire(s.addr["s3"], timeout=70)
    half.send(c.build("PUT", "/buc/half", (), (), b"y" * 100_000)[:-50_000])
    # A reader that never reads.
    lazy = []
    for _ in range(40):
        w = Wire(s.addr["s3"], timeout=70)
        w.send(c.build("GET", "/buc/o"))
        lazy.append(w)
    with t.case("others are served meanwhile"):
        for i in range(50):
            want(c.put("buc", "k%d" % i, b"z").status, 200)
            want(c.get("buc", "k%d" % i).body, b"z")
    with t.case("memory with idle connections"):
        assert s.rss_anon() < 200 << 20, s.rss_anon()
    with t.case("a head that never ends is cut off"):
        started = time.monotonic()
        r = slow.read()
        assert (r is None or r.status in (400, 408)) and time.monotonic() - started < 65
    with t.case("a body that never ends is cut off"):
        r = half.read()
        assert r is None or r.status in (400, 408), r
    with t.case("nothing of it is listed"):
        assert b"<Key>half</Key>" not in c.call("GET", "/buc", [("list-type", "2")]).body
    for w in idle + lazy + [slow, half]:
        w.close()
    with t.case("still well"):
        want(c.get("buc", "k1").body, b"z")


def test_overload(t):
    """More bytes in flight than allowed, whichever API holds them: a request of either waits 10 s before its body is read, then
    503 SlowDown or 429; others go on."""
    s = t.server("-concurrentLimitMB=16")
    c = t.s3(s)
    c.call("PUT", "/buc")
    fid = json.loads(http(s.addr["main"], "GET", "/dir/assign").body)["fid"]
    for holder in ("S3", "native"):
        overload(t, s, c, fid, holder)


def overload(t, s, c, fid, holder):
    held = []
    for i in range(4):
        w = Wire(s.addr["s3" if holder == "S3" else "volume"], timeout=40)
        w.send(c.build("PUT", "/buc/held%d" % i, (), (), b"", payload="UNSIGNED-PAYLOAD", length=False, unsigned=[("content-length", str(8 << 20))]) + b"x" * 1000
               if holder == "S3" else ("PUT /%s_%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (fid, i + 1, 8 << 20)).encode() + b"x" * 1000)
        held.append(w)
    time.sleep(0.5)
    out = {}

    def late(name, call):
        started = time.monotonic()
        r = call()
        out[name] = (r.status, r.code, time.monotonic() - started, r.header("retry-after"))
    calls = {"s3": lambda: t.s3(s, timeout=40).put("buc", "late", b"y" * 4_000_000),
             "native": lambda: http(s.addr["volume"], "PUT", "/" + fid, body=b"z" * 4_000_000, timeout=40)}
    threads = [threading.Thread(target=late, args=x) for x in calls.items()]
    for x in threads:
        x.start()
    with t.case("requests without a body are served meanwhile, held by " + holder):
        want(c.call("GET", "/buc", [("list-type", "2")]).status, 200)
    for x in threads:
        x.join()
    with t.case("S3 says SlowDown after its wait, held by " + holder):
        assert out["s3"][:2] == (503, "SlowDown") and 8 < out["s3"][2] < 14, out
    with t.case("native says 429 after its wait, held by " + holder):
        assert out["native"][0] == 429 and 8 < out["native"][2] < 14, out
    for w in held:
        w.close()
    with t.case("free again after " + holder):
        wait_for("room", lambda: c.put("buc", "after", b"y" * 1_000_000).status == 200, timeout=20, every=0.2)


def test_inspect(t):
    """Any file of ours, offline."""
    s = t.server()
    c = t.s3(s)
    c.call("PUT", "/buc")
    c.put("buc", "o", b"x" * 5000)
    http(s.addr["volume"], "PUT", "/" + json.loads(http(s.addr["main"], "GET", "/dir/assign").body)["fid"], body=b"n")
    s.stop()
    from harness.records import volumes
    for vid, path in volumes(s.data).items():
        with t.case("volume %d" % vid):
            r = t.sh(t.run.binary, "inspect", path)
            assert str(vid) in r.out and r.out.strip()
    for name in os.listdir(os.path.join(s.data, "volumes")):
        if name.endswith((".state", ".ckpt")):
            with t.case(name.split(".")[1]):
                assert t.sh(t.run.binary, "inspect", os.path.join(s.data, "volumes", name)).out.strip()
    for name in ("filer", "main"):
        with t.case(name):
            assert t.sh(t.run.binary, "inspect", os.path.join(s.data, name)).out.strip()
    with t.case("not ours"):
        r = cli(t, "inspect", "/bin/ls")
        assert r.returncode != 0 and r.err.strip()


def test_printed_lines(t):
    """The lines that the first start prints for aws, rclone and curl work when pasted into a shell."""
    s = t.server()
    text = s.stdout.decode()
    path, place = "%s/bin:/usr/bin:/bin" % t.venv, os.path.join(t.dir, "place")
    os.mkdir(place)
    with open(os.path.join(place, "file"), "w") as f:
        f.write("x")
    for program in ("aws", "rclone", "curl"):
        lines = [x.strip() for x in text.splitlines() if re.search(r"^  .*\b%s " % program, x)]
        with t.case(program + " is printed"):
            assert lines, text
        for line in lines:
            with t.case("pasted: " + line[:60]):
                r = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, cwd=place, env={"PATH": path, "HOME": t.dir, "LANG": "C.UTF-8"})
                want((r.returncode, r.stderr if r.returncode else ""), (0, ""))
