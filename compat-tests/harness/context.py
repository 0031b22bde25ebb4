"""What a test gets: a place for files, servers, sizes by profile, and counters for the summary."""

import contextlib
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from .server import Server, clean_env
from .sigv4 import S3


class NeedsRoot(AssertionError):
    """A test that root alone can run, run by someone else."""


class Tls:
    """Paths of an own CA and of a certificate for 127.0.0.1 that it signed."""

    def __init__(self, directory):
        d = str(directory)
        self.ca, self.cert, self.key = d + "/ca.pem", d + "/cert.pem", d + "/key.pem"

        def run(*cmd):
            subprocess.run(["openssl"] + list(cmd), check=True, capture_output=True, cwd=d)

        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj",
            "/CN=halofs test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.csr", "-subj", "/CN=127.0.0.1")
        with open(d + "/ext", "w") as f:
            f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        run("x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert.pem",
            "-days", "2", "-extfile", "ext")


class Context:
    """Handed to every test function. Everything it starts ends with the test."""

    def __init__(self, run, name):
        self.run, self.name, self.full, self.venv = run, name, run.full, run.venv
        self.dir = tempfile.mkdtemp(prefix=name.replace(".", "-") + "-", dir=run.dir)
        self.servers, self.cleanups, self.failures = [], [], []
        self.numbers = itertools.count(1)

    # ---- servers and clients
    def server(self, *args, data=None, start=True, **kw):
        """A started server; its data directory is new unless `data` names one."""
        n = next(self.numbers)
        logs = os.path.join(self.dir, "logs%d" % n)
        os.makedirs(logs)
        s = Server(self.run.binary, data or os.path.join(self.dir, "data%d" % n), logs, args, **kw)
        self.servers.append(s)
        return s.start() if start else s

    def s3(self, server, **kw):
        """The raw signed client of a server."""
        return S3(server.addr["s3"], server.credentials(), tls=server.tls, **kw)

    def boto(self, server, **config):
        """A boto3 client of a server, with nothing from this machine's settings."""
        import boto3
        from botocore.config import Config
        config = {"signature_version": "s3v4", "retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}, "max_pool_connections": 40, **config}
        key, secret = server.credentials()
        return boto3.session.Session(key, secret, region_name="us-east-1").client(
            "s3", endpoint_url=server.endpoint, verify=server.tls.ca if server.tls else None, config=Config(**config))

    def tls(self):
        if self.run.tls is None:
            d = os.path.join(self.run.dir, "tls")
            os.makedirs(d, exist_ok=True)
            self.run.tls = Tls(d)
        return self.run.tls

    def sh(self, *cmd, env=None, check=True, stdin=None, timeout=1800, cwd=None):
        """Runs a client program with a clean environment; returns the finished process, output as text."""
        r = subprocess.run([str(c) for c in cmd], env=clean_env(self.dir, **(env or {})), capture_output=True, timeout=timeout,
                           input=stdin, cwd=cwd or self.dir)
        r.out, r.err = r.stdout.decode(errors="replace"), r.stderr.decode(errors="replace")
        if check and r.returncode != 0:
            raise AssertionError("%s\nexit %d\n%s%s" % (" ".join(map(str, cmd)), r.returncode, r.out[-2000:], r.err[-2000:]))
        return r

    # ---- counting and reporting
    def count(self, what, n=1):
        """Adds to a counter of the summary: `cases`, `faults`, ..."""
        self.run.counts[what] = self.run.counts.get(what, 0) + n

    def note(self, text):
        print("    " + text, flush=True)

    @contextlib.contextmanager
    def case(self, label):
        """One compatibility case: counted, and its failure does not end the test."""
        self.count("cases")
        try:
            yield
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            self.failures.append(label)
            if len(self.failures) <= 40:
                self.note("FAILED case %s: %s: %s (%s:%d)" % (label, type(e).__name__, str(e)[:400], os.path.basename(where.filename), where.lineno))

    def need_root(self, why):
        if os.geteuid() != 0:
            raise NeedsRoot("%s needs root: %s. Run it as root, or name it to leave it out: SKIP=%s" % (self.name, why, self.name.split(".")[0]))

    def body(self, size, seed="x"):
        """`size` bytes that follow from the seed."""
        return body(size, seed)

    def after(self, f, *a):
        self.cleanups.append((f, a))

    def close(self, keep):
        for f, a in reversed(self.cleanups):
            try:
                f(*a)
            except Exception:
                traceback.print_exc()
        for s in self.servers:
            s.kill()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)


def body(size, seed):
    """`size` incompressible bytes that follow from the seed."""
    if size <= 1 << 20:
        return hashlib.shake_128(str(seed).encode()).digest(size)
    block = hashlib.shake_128(str(seed).encode()).digest(1 << 20)
    out = bytearray()
    for i in range(-(-size // (1 << 20))):
        out += i.to_bytes(8, "little") + block[8:]
    return bytes(out[:size])


def wait_for(what, condition, timeout=10, every=0.02):
    """Polls a condition; raises when it stays false."""
    end = time.monotonic() + timeout
    while True:
        r = condition()
        if r:
            return r
        if time.monotonic() > end:
            raise AssertionError("waited %s s for %s" % (timeout, what))
        time.sleep(every)


if sys.version_info < (3, 9):
    raise SystemExit("Python 3.9 or newer is needed")
