"""Raw HTTP and an own SigV4 signer: requests exactly as the test wants them, also wrong ones."""

import datetime
import hashlib
import hmac
import socket
import ssl
import urllib.parse

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def quote(s, safe="-_.~"):
    return urllib.parse.quote(s, safe=safe)


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, day, region="us-east-1", service="s3"):
    return hmac256(hmac256(hmac256(hmac256(("AWS4" + secret).encode(), day), region), service), "aws4_request")


class Response:
    """A parsed answer; `complete` is false when the connection ended before the announced length."""

    def __init__(self, status, reason, headers, body, complete):
        self.status, self.reason, self.headers, self.body, self.complete = status, reason, headers, body, complete

    def header(self, name, default=None):
        return self.headers.get(name.lower(), default)

    @property
    def code(self):
        """The <Code> of an S3 error document, or None."""
        a = self.body.find(b"<Code>")
        return self.body[a + 6:self.body.find(b"</Code>", a)].decode() if a >= 0 else None

    def __repr__(self):
        return "<%s %s %r>" % (self.status, self.code, self.body[:200])


class Wire:
    """One connection. Sends bytes as given, reads whole answers."""

    def __init__(self, addr, tls=None, timeout=30):
        host, port = addr.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = ssl.create_default_context(cafile=tls.ca).wrap_socket(self.sock, server_hostname=host)
        self.buf = b""

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        try:
            piece = self.sock.recv(1 << 18)
        except ConnectionError:
            piece = b""
        self.buf += piece
        return bool(piece)

    def take(self, n):
        """n bytes, or fewer when the peer ends first."""
        if len(self.buf) < n:
            parts, have = [self.buf], len(self.buf)
            while have < n:
                try:
                    piece = self.sock.recv(min(1 << 20, max(1 << 16, n - have)))
                except ConnectionError:
                    piece = b""
                if not piece:
                    break
                parts.append(piece)
                have += len(piece)
            self.buf = b"".join(parts)
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def line(self):
        while b"\n" not in self.buf:
            if not self.more():
                out, self.buf = self.buf, b""
                return out
        out, self.buf = self.buf.split(b"\n", 1)
        return out + b"\n"

    def read(self, method="GET"):
        """The next final answer (1xx are skipped), or None when the connection closed before one."""
        while True:
            first = self.line()
            if not first.strip():
                if not first:
                    return None
                continue
            parts = first.decode("latin-1").strip().split(" ", 2)
            if not parts[0].startswith("HTTP/") or len(parts) < 2:
                raise AssertionError("not an answer: %r" % first[:100])
            status, headers = int(parts[1]), {}
            while True:
                h = self.line().decode("latin-1").strip()
                if not h:
                    break
                name, _, value = h.partition(":")
                headers[name.lower()] = value.strip()
            if status >= 200:
                break
        body, complete = b"", True
        if method == "HEAD" or status in (204, 304):
            pass
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body, complete = self.chunked()
        elif "content-length" in headers:
            n = int(headers["content-length"])
            body = self.take(n)
            complete = len(body) == n
        else:
            while self.more():
                pass
            body, self.buf = self.buf, b""
        return Response(status, parts[2] if len(parts) > 2 else "", headers, body, complete)

    def chunked(self):
        out = []
        while True:
            size = self.line().strip()
            try:
                n = int(size.split(b";")[0], 16)
            except ValueError:
                return b"".join(out), False
            piece = self.take(n)
            out.append(piece)
            if len(piece) < n:
                return b"".join(out), False
            self.line()
            if n == 0:
                return b"".join(out), True

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


def render(method, target, headers, body=b""):
    """A request as bytes; header values may be str or bytes."""
    out = ("%s %s HTTP/1.1\r\n" % (method, target)).encode("utf-8", "surrogateescape")
    for k, v in headers:
        out += k.encode("latin-1") + b": " + (v if isinstance(v, bytes) else str(v).encode("utf-8")) + b"\r\n"
    return out + b"\r\n" + body


class S3:
    """Signed requests on one kept connection. Everything that is signed can be overridden."""

    def __init__(self, addr, keys, tls=None, region="us-east-1", timeout=30, pool=None):
        self.addr, (self.access, self.secret), self.tls, self.region, self.timeout = addr, keys, tls, region, timeout
        self.wire = None
        self.cache = {}

    def now(self, skew=0):
        t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
        return t.strftime("%Y%m%dT%H%M%SZ")

    def key(self, day, secret=None):
        k = (day, secret or self.secret)
        if k not in self.cache:
            self.cache[k] = signing_key(k[1], day, self.region)
        return self.cache[k]

    def canonical_query(self, query):
        return "&".join("%s=%s" % (quote(k), quote(v)) for k, v in sorted(query))

    def sign(self, method, path, query, headers, payload, *, when=None, access=None, secret=None, scope=None):
        """The Authorization header and its seed signature for these (lower-cased) headers."""
        when = when or dict(headers)["x-amz-date"]
        day = when[:8]
        scope = scope or "%s/%s/s3/aws4_request" % (day, self.region)
        hs = sorted((k.lower(), " ".join(str(v).split())) for k, v in headers)
        names = ";".join(k for k, _ in hs)
        canonical = "\n".join([method, path, self.canonical_query(query), "".join("%s:%s\n" % h for h in hs), names, payload])
        text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        sig = hmac.new(self.key(day, secret), text.encode(), hashlib.sha256).hexdigest()
        return "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s" % (access or self.access, scope, names, sig), sig

    def path_of(self, bucket, key=None):
        return "/" + bucket + ("/" + quote(key, "/-_.~") if key is not None else "")

    def build(self, method, path, query=(), headers=(), body=b"", payload=None, unsigned=(), when=None, length=True, **sig):
        """A request's bytes. `headers` are signed, `unsigned` are added after signing; `payload` is the content hash."""
        if isinstance(query, dict):
            query = list(query.items())
        payload = payload or (hashlib.sha256(body).hexdigest() if body else EMPTY)
        hs = [("host", self.addr), ("x-amz-date", when or self.now()), ("x-amz-content-sha256", payload)]
        hs += list(headers.items() if isinstance(headers, dict) else headers)
        auth, seed = self.sign(method, path, query, hs, payload, when=when, **sig)
        self.seed = seed
        q = self.canonical_query(query)
        send = hs + [("authorization", auth)] + list(unsigned)
        if length and (body or method in ("PUT", "POST")):
            send.append(("content-length", str(len(body))))
        return render(method, path + ("?" + q if q else ""), send, body)

    def call(self, method, path, query=(), headers=(), body=b"", **kw):
        return self.exchange(self.build(method, path, query, headers, body, **kw), method)

    def exchange(self, data, method="GET"):
        """Sends on the kept connection; once more on a new one when the old one had been closed."""
        for fresh in (self.wire is None, True):
            if self.wire is None:
                self.wire = Wire(self.addr, self.tls, self.timeout)
            try:
                self.wire.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                r = self.wire.read(method)
            except ConnectionError:
                r = None
            if r is not None:
                if not r.complete or r.header("connection", "").lower() == "close":
                    self.close()
                return r
            self.close()
            if fresh:
                break
        raise ConnectionError("closed without an answer")

    def put(self, bucket, key, body, headers=(), **kw):
        return self.call("PUT", self.path_of(bucket, key), (), headers, body, **kw)

    def get(self, bucket, key, headers=(), query=(), **kw):
        return self.call("GET", self.path_of(bucket, key), query, headers, **kw)

    def head(self, bucket, key, headers=(), **kw):
        return self.call("HEAD", self.path_of(bucket, key), (), headers, **kw)

    def delete(self, bucket, key, **kw):
        return self.call("DELETE", self.path_of(bucket, key), **kw)

    def presign(self, method, path, expires=900, query=(), when=None, headers=()):
        """A presigned target (path and query)."""
        when = when or self.now()
        scope = "%s/%s/s3/aws4_request" % (when[:8], self.region)
        hs = [("host", self.addr)] + list(headers)
        q = list(query) + [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", self.access + "/" + scope),
                           ("X-Amz-Date", when), ("X-Amz-Expires", str(expires)),
                           ("X-Amz-SignedHeaders", ";".join(sorted(k for k, _ in hs)))]
        _, sig = self.sign(method, path, q, hs, UNSIGNED, when=when)
        return path + "?" + self.canonical_query(q + [("X-Amz-Signature", sig)])

    def chunked(self, method, path, chunks, *, trailer=None, signed=True, headers=(), query=(), decoded=None, spoil=None):
        """An aws-chunked upload. `trailer` = (name, value); `spoil` edits (index, chunk bytes with frame) before sending."""
        mode = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if signed else "STREAMING-UNSIGNED-PAYLOAD") + ("-TRAILER" if trailer else "")
        when = self.now()
        hs = list(headers) + [("content-encoding", "aws-chunked"),
                              ("x-amz-decoded-content-length", str(sum(map(len, chunks)) if decoded is None else decoded))]
        if trailer:
            hs.append(("x-amz-trailer", trailer[0]))
        self.build(method, path, query, hs, b"", payload=mode, when=when)
        scope, prev, frames = "%s/%s/s3/aws4_request" % (when[:8], self.region), self.seed, []
        for i, c in enumerate(list(chunks) + [b""]):
            if signed:
                text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", when, scope, prev, EMPTY, hashlib.sha256(c).hexdigest()])
                prev = hmac.new(self.key(when[:8]), text.encode(), hashlib.sha256).hexdigest()
                f = b"%x;chunk-signature=%s\r\n" % (len(c), prev.encode())
            else:
                f = b"%x\r\n" % len(c)
            f += c + (b"\r\n" if c or not trailer else b"")
            frames.append(spoil(i, f) if spoil else f)
        body = b"".join(frames)
        if trailer:
            body += ("%s:%s\r\n" % trailer).encode()
            if signed:
                digest = hashlib.sha256(("%s:%s\n" % trailer).encode()).hexdigest()
                text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", when, scope, prev, digest])
                body += b"x-amz-trailer-signature:" + hmac.new(self.key(when[:8]), text.encode(), hashlib.sha256).hexdigest().encode() + b"\r\n"
            body += b"\r\n"
        data = self.build(method, path, query, hs, b"", payload=mode, when=when, length=False,
                          unsigned=[("content-length", str(len(body)))])
        return self.exchange(data + body, method)

    def close(self):
        if self.wire is not None:
            self.wire.close()
            self.wire = None


def http(addr, method, target, headers=(), body=b"", tls=None, timeout=30):
    """One unsigned request on a connection of its own."""
    w = Wire(addr, tls, timeout)
    try:
        hs = [("Host", addr)] + list(headers)
        if (body or method in ("PUT", "POST")) and not any(k.lower() in ("content-length", "transfer-encoding") for k, _ in hs):
            hs.append(("Content-Length", str(len(body))))
        try:
            w.send(render(method, target, hs, body))
        except (BrokenPipeError, ConnectionResetError):
            pass
        return w.read(method)
    finally:
        w.close()
