"""Starts and stops `halofs server` on 127.0.0.1 with free ports, in a directory of its own, with a clean environment."""

import configparser
import os
import select
import signal
import subprocess
import time


class StartError(Exception):
    """The server ended or stayed silent instead of printing its ready line."""

    def __init__(self, text, code, log):
        super().__init__("%s (exit %s)\n%s" % (text, code, log[-1500:]))
        self.code = code
        self.log = log


def clean_env(home, **more):
    """What a server or client may inherit: a path, a home of its own, a locale. No proxies, CAs or AWS settings."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    env.update(more)
    return env


class Server:
    """One `halofs server`. `args` are extra flags; `prefix` a command in front of it (strace and the like)."""

    def __init__(self, binary, data, logs, args=(), env=None, prefix=(), tls=None):
        self.binary, self.data, self.args, self.prefix, self.tls = str(binary), str(data), list(args), list(prefix), tls
        self.log_path = os.path.join(str(logs), "server.log")
        self.env = clean_env(logs, **(env or {}))
        self.proc = None
        self.addr = {}
        self.ready_seconds = None
        self.stdout = b""

    def command(self):
        cmd = self.prefix + [self.binary, "server", "-dir=" + self.data, "-ip=127.0.0.1",
                             "-main.port=0", "-volume.port=0", "-filer.port=0", "-s3.port=0"]
        if self.tls:
            cmd += ["-s3.cert=" + self.tls.cert, "-s3.key=" + self.tls.key]
        return cmd + self.args

    def spawn(self):
        """Starts the process without waiting for it to be ready."""
        self.addr, self.stdout = {}, b""
        self.started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                         env=self.env, start_new_session=True)
        return self

    def wait_ready(self, timeout=20):
        """Reads stdout up to the ready line."""
        out, end = self.proc.stdout, time.monotonic() + timeout
        while b"\nready " not in b"\n" + self.stdout or not self.stdout.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                self.kill()
                raise StartError("not ready after %s s" % timeout, None, self.log())
            piece = os.read(out.fileno(), 65536)
            if not piece:
                code = self.proc.wait()
                raise StartError("ended before it was ready: " + self.stdout.decode(errors="replace"), code, self.log())
            self.stdout += piece
        self.ready_seconds = time.monotonic() - self.started
        line = [x for x in self.stdout.decode().splitlines() if x.startswith("ready ")][-1]
        self.addr = dict(x.split("=", 1) for x in line.split()[1:] if "=" in x)
        return self

    def start(self, timeout=20):
        return self.spawn().wait_ready(timeout)

    @property
    def pid(self):
        """The server's own pid, also when a prefix command runs it."""
        if not self.prefix:
            return self.proc.pid
        for p in os.listdir("/proc"):
            if p.isdigit():
                try:
                    if os.path.realpath("/proc/%s/exe" % p) == os.path.realpath(self.binary) and self._below(int(p)):
                        return int(p)
                except OSError:
                    continue
        return self.proc.pid

    def _below(self, pid):
        while pid > 1:
            if pid == self.proc.pid:
                return True
            with open("/proc/%d/stat" % pid) as f:
                pid = int(f.read().rsplit(")", 1)[1].split()[1])
        return False

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def kill(self):
        """SIGKILL, and nothing of it is left running afterwards."""
        if self.proc is None:
            return
        if self.prefix and self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except OSError:
                pass
        if self.alive():
            self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()
        self.proc = None

    def stop(self, timeout=15):
        """SIGTERM; returns (seconds, exit code)."""
        if self.proc is None:
            return 0.0, 0
        t = time.monotonic()
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("SIGTERM did not stop the server in %s s" % timeout)
        self.proc.stdout.close()
        self.proc = None
        return time.monotonic() - t, code

    def signal(self, sig):
        os.kill(self.pid, sig)

    def rss_anon(self):
        """Anonymous resident memory in bytes."""
        with open("/proc/%d/status" % self.pid) as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        return 0

    def log(self):
        try:
            with open(self.log_path, "rb") as f:
                return f.read().decode(errors="replace")
        except OSError:
            return ""

    def credentials(self):
        """(access key, secret) of the profile that the first start wrote."""
        ini = configparser.ConfigParser()
        ini.read(os.path.join(self.data, "credentials"))
        p = ini["halofs"]
        return p["aws_access_key_id"], p["aws_secret_access_key"]

    @property
    def endpoint(self):
        return ("https://" if self.tls else "http://") + self.addr["s3"]

    def __enter__(self):
        return self if self.alive() else self.start()

    def __exit__(self, *_):
        self.kill()
