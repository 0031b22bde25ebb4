"""Signals to a busy server: SIGTERM drains, SIGHUP reads again, SIGKILL is followed by a quick start."""

import json
import os
import re
import shutil
import signal
import threading
import time

from harness.context import Tls, wait_for
from harness.server import StartError
from harness.sigv4 import S3, UNSIGNED, Wire, http

from .s3_objects import want

WRITERS = 16


class Writers:
    """16 clients that put small objects under new keys, one after the other, until they are told to stop or the server
    ends. `lost` are requests that were sent whole and got no answer: when each was begun."""

    def __init__(self, t, server, tag):
        self.acked, self.lost, self.refused, self.stop = [], [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(t.s3(server), "%s-%d" % (tag, n)), daemon=True) for n in range(WRITERS)]
        for x in self.threads:
            x.start()

    def run(self, client, tag):
        i = 0
        while not self.stop.is_set():
            key, begun = "%s-%d" % (tag, i), time.monotonic()
            i += 1
            try:
                r = client.put("buc", key, key.encode() * 300)
            except ConnectionRefusedError:
                return
            except (OSError, AssertionError):
                self.lost.append(begun)
                return
            if r.status == 200:
                self.acked.append(key)
            else:
                self.refused.append(r)

    def end(self):
        self.stop.set()
        for x in self.threads:
            x.join(40)
        assert not any(x.is_alive() for x in self.threads), "a client still waits for an answer"

    def missing(self, client):
        return [k for k in self.acked if client.get("buc", k).body != k.encode() * 300]


def test_drain(t):
    """SIGTERM under 16 writers: requests that it meets are answered and stay, new ones are not taken, it ends within 10 s."""
    s = t.server()
    c = t.s3(s)
    want(c.call("PUT", "/buc").status, 200)
    large = t.body(12 << 20, "large")
    want(c.put("buc", "large", large).status, 200)
    fid = json.loads(http(s.addr["main"], "GET", "/dir/assign").body)["fid"]
    load = Writers(t, s, "drain")
    wait_for("a running load", lambda: len(load.acked) > 200)
    body, half = t.body(200_000, "half"), 100_000
    puts, native = [Wire(s.addr["s3"]) for _ in range(4)], Wire(s.addr["volume"])
    for i, w in enumerate(puts):
        w.send(c.build("PUT", "/buc/slow%d" % i, (), (), body, payload=UNSIGNED)[:-half])
    native.send(b"PUT /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (fid.encode(), len(body)) + body[:-half])
    reader = Wire(s.addr["s3"])
    reader.send(c.build("GET", "/buc/large"))
    reader.take(1000)
    time.sleep(0.3)
    began = time.monotonic()
    s.signal(signal.SIGTERM)
    time.sleep(0.5)
    with t.case("no new connections"):
        try:
            r = Wire(s.addr["s3"], timeout=5)
            r.send(c.build("GET", "/buc/large"))
            want(r.read(), None)
        except OSError:
            pass
    for w in puts + [native]:
        w.send(body[-half:])
    with t.case("uploads that were half there are answered"):
        want([w.read().status for w in puts], [200] * len(puts))
        want(native.read().status, 201)
    with t.case("a download goes on to its end"):
        rest = reader.take(len(large))
        assert len(rest) + 1000 > len(large) and (rest).endswith(large[-10_000:]), len(rest)
    seconds, code = s.stop()
    seconds = time.monotonic() - began
    load.end()
    with t.case("under 10 s with exit 0"):
        assert seconds < 10, seconds
        want(code, 0)
    with t.case("no request of the load that it met is left without an answer"):
        # A request that crosses the closing of its idle connection may go unread; the client sends it again.
        want([began - x for x in load.lost if x < began - 0.2], [])
        want(load.refused, [])
    s.start()
    with t.case("what was acknowledged is there"):
        c = t.s3(s)
        want(load.missing(c), [])
        want([c.get("buc", "slow%d" % i).body == body for i in range(len(puts))], [True] * len(puts))
        want(http(s.addr["volume"], "GET", "/" + fid).body, body)
    t.note("drained in %.2f s under %d clients, %d acknowledged writes" % (seconds, WRITERS, len(load.acked)))


def test_reload(t):
    """SIGHUP under load: every kind of broken file is named, and the old identities and certificate go on."""
    path = os.path.join(t.dir, "users.json")

    def user(name, action="Admin"):
        return {"name": name, "credentials": [{"accessKey": "AK" + name, "secretKey": "secret" + name}], "actions": [action]}

    def write(doc):
        with open(path, "w") as f:
            f.write(doc if isinstance(doc, str) else json.dumps({"identities": doc, "accounts": []}))
    write([user("one")])
    tls = Tls(t.dir)
    s = t.server("-s3.config=" + path, tls=tls)
    one, two = [S3(s.addr["s3"], ("AK" + n, "secret" + n), tls=tls) for n in ("one", "two")]
    want(one.call("PUT", "/buc").status, 200)
    acked, bad, stop = [], [], threading.Event()

    def load(n):
        x, i = S3(s.addr["s3"], ("AKone", "secretone"), tls=tls), 0
        while not stop.is_set():
            r = x.put("buc", "k%d-%d" % (n, i), b"x" * 1000)
            (acked if r.status == 200 else bad).append(r.status)
            i += 1
    threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(4)]
    for x in threads:
        x.start()
    doubled = [user("one"), user("two")]
    doubled[1]["credentials"][0]["accessKey"] = "AKone"
    broken = {
        "cut short": json.dumps({"identities": [user("two")]})[:-9],
        "no object": "[1]",
        "empty": "",
        "unknown action": [user("two", "Everything")],
        "no secret": [{"name": "two", "credentials": [{"accessKey": "AKtwo"}], "actions": ["Admin"]}],
        "an access key twice": doubled,
        "gone": None,
    }
    for why, doc in broken.items():
        with t.case("broken file: " + why):
            if doc is None:
                os.unlink(path)
            else:
                write(doc)
            before = len(s.log())
            s.signal(signal.SIGHUP)
            wait_for("a line that names the file", lambda: "users.json" in s.log()[before:] and "old ones stay" in s.log()[before:])
            want((one.call("GET", "/buc").status, two.call("GET", "/buc").status), (200, 403))
    write([user("one")])
    with open(tls.cert, "rb") as f:
        good = f.read()
    for why, text in (("no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ("empty", b"")):
        with t.case("broken certificate: " + why):
            with open(tls.cert, "wb") as f:
                f.write(text)
            before = len(s.log())
            s.signal(signal.SIGHUP)
            wait_for("a line that says so", lambda: "certificate was not read again" in s.log()[before:])
            want(S3(s.addr["s3"], ("AKone", "secretone"), tls=tls).call("GET", "/buc").status, 200)
    with open(tls.cert, "wb") as f:
        f.write(good)
    with t.case("whole files again"):
        write([user("one"), user("two")])
        s.signal(signal.SIGHUP)
        wait_for("the second user", lambda: two.call("GET", "/buc").status == 200)
        write([user("two")])
        s.signal(signal.SIGHUP)
        stop.set()
        wait_for("the first user to be gone", lambda: one.call("GET", "/buc").status == 403)
    stop.set()
    for x in threads:
        x.join(40)
    with t.case("nobody noticed meanwhile"):
        assert len(acked) > 50 and set(bad) <= {403} and len(bad) <= len(threads), (len(acked), bad)
    with t.case("a start with a broken file is refused"):
        s.stop()
        write(broken["cut short"])
        try:
            s.start()
            raise AssertionError("started with a broken file")
        except StartError as e:
            assert "users.json" in str(e), e


def test_kill_start(t):
    """Start after kill -9 under 16 writers: the figure is printed, what was acknowledged is there."""
    s, times, acked = t.server(), [], 0
    want(t.s3(s).call("PUT", "/buc").status, 200)
    for cycle in range(10 if t.full else 5):
        load = Writers(t, s, "cycle%d" % cycle)
        wait_for("a running load", lambda: len(load.acked) > 1000, timeout=60)
        s.kill()
        load.end()
        t.count("faults")
        s.start()
        times.append(s.ready_seconds)
        with t.case("acknowledged writes of cycle %d" % cycle):
            want(load.missing(t.s3(s)), [])
        acked += len(load.acked)
    t.note("start after kill -9 under %d writers: median %.2f s, slowest %.2f s of %d; %d acknowledged writes" % (
        WRITERS, sorted(times)[len(times) // 2], max(times), len(times), acked))
    with t.case("no start takes long"):
        assert max(times) < 10, times


def test_orphans(t):
    """kill -9 between needle and name: after the restart each needle that no name points at is queued, and no other is."""
    from harness.records import records, volumes
    s = t.server()
    want(t.s3(s).call("PUT", "/buc").status, 200)
    for cycle in range(6):
        load = Writers(t, s, "cycle%d" % cycle)
        wait_for("a running load", lambda: len(load.acked) > 300, timeout=60)
        s.kill()
        load.end()
        t.count("faults")
        s.start()
    # Leases that died with their process are looked through within seconds.
    wait_for("the sweep of every lease", lambda: "sweep/" not in rows(t, s), timeout=90, every=3)
    s.stop()
    named, queued = set(), set()
    for line in rows(t, s).splitlines():
        # A row's key may hold spaces.
        m = re.fullmatch(r"\s*\d+  (.*) \d+ bytes((?: \d+,[0-9a-f]+)+)", line)
        if m:
            fids = {tuple(f.split(",")) for f in m.group(2).split()}
            (queued if m.group(1).startswith("gc/") else named).update(fids)
    needles = {}
    for vid, path in volumes(s.data).items():
        for r in records(path):
            if not r.mark and not r.tombstone:
                needles["%d" % vid, "%x%08x" % (r.key, r.cookie)] = r
    strip = {(vid, key.lstrip("0")) for vid, key in needles}
    named, queued = [{(vid, key.lstrip("0")) for vid, key in x} for x in (named, queued)]
    with t.case("no named needle is queued"):
        want(named & queued, set())
    with t.case("every named needle is there"):
        want(named - strip, set())
    with t.case("every needle is named or queued"):
        want(strip - named - queued, set())
    found = len(queued & strip)
    with t.case("the kills left some"):
        assert found > 0, "no kill fell between a needle and its name"
    t.note("orphans: %d needles, %d named, %d without a name were queued after 6 kills" % (len(strip), len(named), found))


def rows(t, s):
    """The filer's rows as `inspect` prints them, of a copy: the server may run."""
    copy = os.path.join(t.dir, "filer-copy")
    for _ in range(20):
        shutil.rmtree(copy, ignore_errors=True)
        try:
            shutil.copytree(os.path.join(s.data, "filer"), copy)
        except (OSError, shutil.Error):
            continue
        r = t.sh(t.run.binary, "inspect", "-key.file=" + os.path.join(s.data, "root.key"), copy, check=False)
        if r.returncode == 0:
            return r.out
    raise AssertionError(r.err)
