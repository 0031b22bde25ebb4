"""halofs against weed on one machine: the same client, the same identity, fresh directories, interleaved rounds.

Three systems take turns: halofs (sealing and syncing everything), halofs with -fsync=false, and weed at its defaults.
Every figure is the median over the rounds; each server runs alone. Writes a Markdown table with targets and verdicts.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from harness.server import Server, clean_env

ACCESS, SECRET = "BENCHACCESSKEY000001", "benchsecretbenchsecretbenchsecret0000001"
SYSTEMS = ["halofs", "halofs -fsync=false", "weed"]
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = 1 << 20


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def free_ports(count):
    """Ports that are free now and whose +10000 neighbours (weed's gRPC) are free too."""
    out = []
    port = 21000
    while len(out) < count:
        port += 1
        try:
            for p in (port, port + 10000):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", p))
        except OSError:
            continue
        out.append(port)
    return out


def status_kib(pid, field):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise KeyError(field)


def sectors_written():
    with open("/proc/diskstats") as f:
        return sum(int(x.split()[9]) for x in f)


def settle():
    """What the server before has left to write must not slow this one's syncs: waits until the disk is quiet."""
    os.sync()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        before = sectors_written()
        time.sleep(1)
        if sectors_written() - before < 2048:
            return
    say("the disk does not get quiet: figures will be low and unsteady")


class Running:
    """One server, in a directory of its own that goes with it."""

    def __init__(self, bench, system):
        self.bench, self.system = bench, system
        settle()
        self.dir = tempfile.mkdtemp(prefix="bench-", dir=bench.args.dir)
        self.log = os.path.join(self.dir, "log")
        os.mkdir(self.log)
        config = os.path.join(self.dir, "s3.json")
        with open(config, "w") as f:
            json.dump({"identities": [{"name": "bench", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                                       "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}, f)
        data = os.path.join(self.dir, "data")
        os.mkdir(data)
        if system == "weed":
            self.start_weed(data, config)
        else:
            flags = ["-s3.config=" + config] + (["-fsync=false"] if "fsync" in system else [])
            self.server = Server(bench.args.binary, data, self.log, flags)
            self.server.start()
            self.pid, self.proc = self.server.pid, self.server.proc
            self.s3, self.main = self.server.addr["s3"], self.server.addr["main"]
            self.volume = self.server.addr["volume"]

    def start_weed(self, data, config):
        main, volume, filer, s3 = free_ports(4)
        command = [self.bench.args.weed, "server", "-s3", "-volume.max=100", "-master.telemetry=false", "-dir=" + data,
                   "-ip=127.0.0.1", "-master.port=%d" % main, "-volume.port=%d" % volume, "-filer.port=%d" % filer,
                   "-s3.port=%d" % s3, "-s3.config=" + config]
        with open(os.path.join(self.log, "server.log"), "ab") as log:
            self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                         env=clean_env(self.dir), start_new_session=True)
        self.pid = self.proc.pid
        self.s3, self.main = "127.0.0.1:%d" % s3, "127.0.0.1:%d" % main
        self.volume = "127.0.0.1:%d" % volume
        end = time.monotonic() + 60
        while not (self.answers(self.s3, "/") and self.answers(self.main, "/dir/assign", 200)):
            if time.monotonic() > end or self.proc.poll() is not None:
                raise SystemExit("weed did not start; its log is in " + self.log)
            time.sleep(0.2)
        # The filer's own first assign may come later than the master's.
        time.sleep(3)

    @staticmethod
    def answers(host, path, want=None):
        try:
            with urllib.request.urlopen("http://%s%s" % (host, path), timeout=2) as r:
                return want is None or r.status == want and b'"fid"' in r.read()
        except urllib.error.HTTPError:
            return want is None
        except OSError:
            return False

    def anon_mib(self):
        return status_kib(self.pid, "RssAnon") / 1024

    def metric(self, name):
        """The sum of a counter on halofs's volume port, or None."""
        try:
            with urllib.request.urlopen("http://%s/metrics" % self.volume, timeout=5) as r:
                lines = r.read().decode().splitlines()
        except OSError:
            return None
        values = [float(x.rsplit(" ", 1)[1]) for x in lines if x.split("{")[0].split(" ")[0] == name]
        return sum(values) if values else None

    def stop(self):
        # What it stored is thrown away: nothing needs to be drained.
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Peak:
    """The largest RssAnon of a process while it is watched."""

    def __init__(self, pid):
        self.pid, self.before, self.peak, self.over = pid, status_kib(pid, "RssAnon"), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, status_kib(self.pid, "RssAnon"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def growth_mib(self):
        return max(0, self.peak - self.before) / 1024


class Bench:
    def __init__(self, args):
        self.args = args
        self.systems = [s for s in SYSTEMS if s in args.systems.split(",")]
        self.values = {}
        self.errors = []
        self.batch = {}

    def note(self, figure, system, value):
        self.values.setdefault(figure, {}).setdefault(system, []).append(value)

    def median(self, figure, system):
        got = self.values.get(figure, {}).get(system)
        return statistics.median(got) if got else None

    def client(self, server, *flags, label=""):
        """Runs the benchmark client; its rows."""
        command = [self.args.binary, "benchmark", "-s3=http://" + server.s3, "-main=http://" + server.main,
                   "-accessKey=" + ACCESS, "-secretKey=" + SECRET, "-o=json"] + list(flags)
        done = subprocess.run(command, capture_output=True, text=True, env=clean_env(server.dir))
        try:
            rows = json.loads(done.stdout)
        except ValueError:
            self.errors.append("%s %s: %s" % (server.system, label, done.stderr.strip()[-300:]))
            return []
        for r in rows:
            if r["errors"]:
                self.errors.append("%s %s %s: %d errors, %s" % (server.system, r["op"], r["size"], r["errors"],
                                                                 r.get("first_error")))
        return rows

    # ---- figures
    def s3(self, system):
        with Running(self, system) as server:
            for size in ("4KiB", "64KiB", "1MiB", "10MiB"):
                syncs, written = server.metric("HaloFS_volumeServer_batches_total"), server.metric("HaloFS_volumeServer_batch_bytes_total")
                rows = self.client(server, "-size=" + size, "-duration=%ds" % self.args.seconds, "-ops=put,get", label=size)
                for r in rows:
                    self.note("S3 %s %s" % (r["op"].upper(), size), system, r["per_second"])
                    self.note("p99 S3 %s %s" % (r["op"].upper(), size), system, r["p99_ms"])
                if system == "halofs" and syncs is not None and written is not None:
                    n = server.metric("HaloFS_volumeServer_batches_total") - syncs
                    if n:
                        self.batch[size] = (server.metric("HaloFS_volumeServer_batch_bytes_total") - written) / n
            self.note("RssAnon after S3", system, server.anon_mib())

    def native(self, system):
        with Running(self, system) as server:
            rows = self.client(server, "-api=native", "-size=1KiB", "-duration=%ds" % self.args.seconds, "-ops=put,get",
                               label="native")
            for r in rows:
                self.note("native %s 1KiB" % {"put": "write", "get": "read"}[r["op"]], system, r["per_second"])
                self.note("p99 native %s 1KiB" % {"put": "write", "get": "read"}[r["op"]], system, r["p99_ms"])
            self.note("RssAnon after native", system, server.anon_mib())

    def listing(self, system):
        with Running(self, system) as server:
            keys = 10_000 if self.args.quick else 100_000
            rows = self.client(server, "-size=16", "-ops=list", "-list.keys=%d" % keys, label="list")
            for r in rows:
                if r["op"].startswith("list delim"):
                    self.note("delimiter listing ms", system, r["p50_ms"])
                elif r["op"].startswith("list "):
                    self.note("list seconds", system, r["seconds"])

    def memory(self, system):
        with Running(self, system) as server:
            # What every server sets up on first use does not count.
            self.client(server, "-size=64KiB", "-n=2000", "-ops=put,get", label="warm-up")
            time.sleep(1)
            with Peak(server.pid) as peak:
                rows = self.client(server, "-size=1GiB", "-n=1", "-c=1", "-ops=put,get", label="1 GiB")
            for r in rows:
                self.note("1 GiB %s MiB/s" % r["op"].upper(), system, r["mib_per_second"])
            self.note("growth 1 GiB", system, peak.growth_mib())
        with Running(self, system) as server:
            self.client(server, "-size=64KiB", "-n=2000", "-ops=put,get", label="warm-up")
            time.sleep(1)
            with Peak(server.pid) as peak:
                self.client(server, "-size=10MiB", "-n=102", "-c=16", "-ops=multipart", label="parts")
            self.note("growth parts", system, peak.growth_mib())

    def probe(self):
        """write + fdatasync of the batch sizes that the server had, without anything else."""
        fallback = {"1MiB": 8 * MIB, "10MiB": 80 * MIB}
        block = os.urandom(MIB)
        for size, other in fallback.items():
            batch = max(4096, int(self.batch.get(size, other)))
            path = os.path.join(self.args.dir, "probe")
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            try:
                began, at = time.monotonic(), 0
                while time.monotonic() - began < self.args.seconds / 2:
                    left = batch
                    while left > 0:
                        n = os.pwrite(fd, block[:min(left, MIB)], at)
                        at, left = at + n, left - n
                    os.fdatasync(fd)
                self.note("probe MiB/s " + size, "disk", at / MIB / (time.monotonic() - began))
            finally:
                os.close(fd)
                os.unlink(path)

    def index(self):
        """Heap bytes a needle of the volume index itself."""
        done = subprocess.run([self.args.index, "10000000"], capture_output=True, text=True, check=True)
        self.note("index bytes", "halofs", float(done.stdout.split(":")[1].split()[0]))

    def run(self):
        if self.args.index:
            self.index()
        only = self.args.only.split(",")
        for n in range(self.args.rounds):
            for name, step in (("s3", self.s3), ("native", self.native), ("list", self.listing)):
                for system in self.systems:
                    loose = "fsync" in system
                    if name in only and not (loose and (name == "list" or self.args.quick and name == "native")):
                        say("round %d of %d: %s, %s" % (n + 1, self.args.rounds, name, system))
                        step(system)
                if name == "s3" and name in only:
                    self.probe()
        for system in self.systems:
            # Quick: the targets are about halofs.
            if "memory" in only and (system == "halofs" or system == "weed" and not self.args.quick):
                say("memory, " + system)
                self.memory(system)


# ---- the page

def num(x, digits=0):
    return "–" if x is None else "{:,.{d}f}".format(x, d=digits)


class Page:
    """Rows of figure, ours, ours unsynced, theirs, ratio, target, verdict."""

    def __init__(self, bench):
        self.bench, self.rows, self.missed = bench, [], 0

    def row(self, name, ours, loose, theirs, ratio, target, ok):
        if ours == loose == theirs == "–":
            return
        verdict = "–" if ok is None else "pass" if ok else "**miss**"
        self.missed += ok is False
        self.rows.append("| %s | %s | %s | %s | %s | %s | %s |" % (name, ours, loose, theirs, ratio, target, verdict))

    def rate(self, name, figure, want, which="halofs"):
        b = self.bench
        ours, loose, theirs = (b.median(figure, s) for s in SYSTEMS)
        mine = ours if which == "halofs" else loose
        ratio = mine / theirs if mine and theirs else None
        self.row(name, num(ours), num(loose), num(theirs), num(ratio, 2), "≥ %s× weed%s" % (
            want, "" if which == "halofs" else " with -fsync=false"), None if ratio is None else ratio >= want)

    def synced_put(self, size, mib):
        """Synced, at least 0.8 of the smaller of our own unsynced figure and the probe."""
        b = self.bench
        ours, loose = b.median("S3 PUT " + size, SYSTEMS[0]), b.median("S3 PUT " + size, SYSTEMS[1])
        probe = b.median("probe MiB/s " + size, "disk")
        if None in (ours, loose, probe):
            return
        bound = min(loose, probe / mib)
        self.row("S3 PUT %s, synced, of the smaller of unsynced and probe" % size, num(ours, 1), num(loose, 1),
                 "probe %s" % num(probe / mib, 1), num(ours / bound, 2), "≥ 0.8", ours / bound >= 0.8)

    def build(self):
        b = self.bench
        for size in ("4KiB", "64KiB"):
            for op in ("PUT", "GET"):
                self.rate("S3 %s %s, requests/s" % (op, size), "S3 %s %s" % (op, size), 2)
        for size, mib in (("1MiB", 1), ("10MiB", 10)):
            self.rate("S3 GET %s, requests/s" % size, "S3 GET " + size, 1.2)
            self.rate("S3 PUT %s, requests/s" % size, "S3 PUT " + size, 1.2, which="loose")
            self.synced_put(size, mib)
        for op in ("write", "read"):
            self.rate("native %s 1KiB, requests/s" % op, "native %s 1KiB" % op, 1.5)
        ours, theirs = b.median("list seconds", "halofs"), b.median("list seconds", "weed")
        if ours and theirs:
            keys = "10,000" if b.args.quick else "100,000"
            self.row("ListObjectsV2 over %s keys, s" % keys, num(ours, 2), "", num(theirs, 2), num(theirs / ours, 2),
                     "≥ 2× weed", theirs / ours >= 2)
        ours, theirs = b.median("delimiter listing ms", "halofs"), b.median("delimiter listing ms", "weed")
        if ours is not None:
            self.row("delimiter listing, 10 prefixes, ms", num(ours, 1), "", num(theirs, 1), "", "< 20 ms", ours < 20)
        for name in ("S3", "native"):
            ours, loose, theirs = (b.median("RssAnon after " + name, s) for s in SYSTEMS)
            if ours and theirs:
                self.row("RssAnon after the %s rounds, MiB" % name, num(ours), num(loose), num(theirs),
                         num(ours / theirs, 2), "≤ 0.25× weed", ours <= theirs / 4)
        for figure, name, most in (("growth 1 GiB", "RssAnon growth, 1 GiB PutObject then GET, MiB", 64),
                                   ("growth parts", "RssAnon growth, 16 parallel parts of 10 MiB, 1 GiB in all, MiB", 64 + 160)):
            ours, theirs = b.median(figure, "halofs"), b.median(figure, "weed")
            if ours is not None:
                self.row(name, num(ours), "", num(theirs), "", "≤ %d MiB" % most, ours <= most)
        ours = b.median("index bytes", "halofs")
        if ours is not None:
            self.row("index bytes a needle, 10 million needles", num(ours, 1), "", "", "", "≤ 24", ours <= 24)
        return self


def first_line(path, start):
    with open(path) as f:
        return next((x.split(":", 1)[1].strip() for x in f if x.startswith(start)), "?")


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return "?"


def environment(bench, load):
    weed = output(bench.args.weed, "version").splitlines()
    rev = output("git", "-C", HERE, "rev-parse", "--short", "HEAD")
    dirty = "+" if output("git", "-C", HERE, "status", "--porcelain", "-uno") else ""
    return [
        "- halofs %s%s (%s), %s" % (rev, dirty, (output(bench.args.binary, "version").splitlines() or ["?"])[0], weed[0] if weed else "weed ?"),
        "- %d × %s, %.0f GiB RAM, Linux %s, %s" % (
            os.cpu_count(), first_line("/proc/cpuinfo", "model name"),
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 ** 30, platform.release(),
            output("findmnt", "-no", "FSTYPE", "-T", bench.args.dir)),
        "- load before the run %.2f; client and servers share the machine; client: `halofs benchmark`, 16 connections, "
        "signed, payload not hashed" % load,
        "- %d rounds of %d s an operation, interleaved, medians; each server alone, fresh directory per API" % (
            bench.args.rounds, bench.args.seconds),
    ]


def write(bench, load, seconds):
    page = Page(bench).build()
    today = datetime.date.today().isoformat()
    lines = ["# Benchmark %s%s" % (today, ", quick" if bench.args.quick else ""), ""]
    lines += environment(bench, load) + [""]
    lines += ["| figure | halofs | halofs -fsync=false | weed | ratio | target | |", "|---|---|---|---|---|---|---|"]
    lines += page.rows + [""]
    p99 = sorted(f for f in bench.values if f.startswith("p99 "))
    if p99:
        lines += ["| p99, ms | halofs | halofs -fsync=false | weed |", "|---|---|---|---|"]
        lines += ["| %s | %s |" % (f[4:], " | ".join(num(bench.median(f, s), 1) for s in SYSTEMS)) for f in p99] + [""]
    for size, batch in sorted(bench.batch.items()):
        lines.append("- bytes a sync at %s: %s" % (size, num(batch)))
    for op in ("PUT", "GET"):
        f = "1 GiB %s MiB/s" % op
        if f in bench.values:
            lines.append("- one 1 GiB %s: halofs %s MiB/s, weed %s MiB/s" % (
                op, num(bench.median(f, "halofs")), num(bench.median(f, "weed"))))
    if bench.errors:
        lines += ["", "Errors:", ""] + ["- " + e for e in bench.errors]
    lines += ["", "%d targets missed. The run took %d s." % (page.missed, seconds), ""]
    with open(bench.args.out, "w") as f:
        f.write("\n".join(lines))
    print("\n".join(lines))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("-binary", required=True)
    p.add_argument("-weed", required=True)
    p.add_argument("-index", help="the program that measures the volume index")
    p.add_argument("-quick", action="store_true", help="one round, short: under three minutes")
    p.add_argument("-rounds", type=int)
    p.add_argument("-seconds", type=int, help="of an operation")
    p.add_argument("-only", default="s3,native,list,memory")
    p.add_argument("-systems", default=",".join(SYSTEMS), help="which of them: %(default)s")
    p.add_argument("-dir", default=tempfile.gettempdir(), help="on the disk to measure")
    p.add_argument("-out")
    args = p.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.seconds = args.seconds or (1 if args.quick else 5)
    folder = os.path.join(HERE, "docs", "benchmarks")
    os.makedirs(folder, exist_ok=True)
    name = datetime.date.today().isoformat() + ("-quick" if args.quick else "") + ".md"
    args.out = args.out or os.path.join(folder, name)
    load, began = os.getloadavg()[0], time.monotonic()
    if load > 1:
        say("the machine is busy (load %.2f): figures will be low and unsteady" % load)
    bench = Bench(args)
    bench.run()
    write(bench, load, time.monotonic() - began)
    say("wrote " + args.out)
    # A missed target is a finding, an error of a request is a failure.
    sys.exit(1 if bench.errors else 0)


if __name__ == "__main__":
    main()
