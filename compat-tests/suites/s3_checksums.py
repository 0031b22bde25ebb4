"""All payload modes and checksum algorithms: verified, kept, returned, combined."""

import base64
import hashlib
import zlib

from harness.sigv4 import UNSIGNED

from .s3_objects import error, want

try:
    from awscrt import checksums as crt
except ImportError:
    crt = None


def b64(n, width):
    return base64.b64encode(n.to_bytes(width, "big")).decode()


def digest(name, data):
    """The header value of a checksum, or None where no independent implementation is at hand."""
    if name == "crc32":
        return b64(zlib.crc32(data), 4)
    if name in ("sha1", "sha256", "sha512", "md5"):
        return base64.b64encode(hashlib.new(name, data).digest()).decode()
    if crt is None:
        return None
    if name == "crc32c":
        return b64(crt.crc32c(data), 4)
    if name == "crc64nvme":
        return b64(crt.crc64nvme(data), 8)
    make = {"xxhash64": "compute_xxhash64", "xxhash3": "compute_xxhash3_64", "xxhash128": "compute_xxhash3_128"}[name]
    if hasattr(crt, "XXHash"):
        return base64.b64encode(getattr(crt.XXHash, make)(data)).decode()
    return None


NAMES = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5", "xxhash64", "xxhash3", "xxhash128"]
BODY = b"hello, checksums"


def test_headers(t):
    """A right checksum header is accepted and returned, a wrong one refused and nothing stored."""
    s = t.server()
    raw = t.s3(s)
    raw.call("PUT", "/buc")
    for name in NAMES:
        value = digest(name, BODY)
        if value is None:
            with t.case(name + " wrong"):
                r = raw.put("buc", name, BODY, [("x-amz-checksum-" + name, base64.b64encode(bytes(16 if name == "xxhash128" else 8)).decode())])
                want((r.status, r.code), (400, "BadDigest"))
            continue
        with t.case(name + " right"):
            r = raw.put("buc", name, BODY, [("x-amz-checksum-" + name, value)])
            want((r.status, r.header("x-amz-checksum-" + name)), (200, value))
            g = raw.get("buc", name, [("x-amz-checksum-mode", "ENABLED")])
            want((g.body, g.header("x-amz-checksum-" + name), g.header("x-amz-checksum-type")), (BODY, value, "FULL_OBJECT"))
        with t.case(name + " wrong"):
            r = raw.put("buc", name + "-bad", BODY + b"!", [("x-amz-checksum-" + name, value)])
            want((r.status, r.code), (400, "BadDigest"))
            want(raw.head("buc", name + "-bad").status, 404)
        with t.case(name + " malformed"):
            want(raw.put("buc", name + "-bad", BODY, [("x-amz-checksum-" + name, "AAAA!")]).status, 400)
    with t.case("two at once"):
        want(raw.put("buc", "two", BODY, [("x-amz-checksum-crc32", digest("crc32", BODY)), ("x-amz-checksum-sha1", digest("sha1", BODY))]).status, 400)


def test_modes(t):
    """Signed, unsigned, chunked signed, signed trailer, unsigned trailer; each also damaged; over http and TLS."""
    for tls in (None, t.tls()):
        s = t.server(tls=tls)
        raw = t.s3(s)
        raw.call("PUT", "/buc")
        data = t.body(200_000, "m")
        pieces = [data[i:i + 65536] for i in range(0, len(data), 65536)]
        crc = digest("crc32", data)
        where = "tls" if tls else "http"

        def check(label, send, spoiled, codes):
            with t.case("%s %s" % (where, label)):
                r = send(None)
                want((r.status, r.code), (200, None))
                want(raw.get("buc", "o").body, data)
            for what, arg in spoiled:
                with t.case("%s %s %s" % (where, label, what)):
                    raw.delete("buc", "o")
                    r = send(arg)
                    assert (r.status, r.code) in codes, r
                    want(raw.head("buc", "o").status, 404)

        def flip(i, f):
            return f[:-10] + bytes([f[-10] ^ 1]) + f[-9:] if i == 1 else f

        def flip_signature(i, f):
            return f.replace(b"chunk-signature=", b"chunk-signature=0", 1)[:-1] if i == 1 else f

        bad = {(403, "SignatureDoesNotMatch"), (400, "XAmzContentSHA256Mismatch"), (400, "BadDigest"), (400, "IncompleteBody"), (400, "InvalidRequest"),
               (400, "MalformedTrailerError"), (403, "AccessDenied"), (400, "InvalidChunkSizeError")}
        check("signed", lambda a: raw.put("buc", "o", data if a is None else data[:-1] + b"#", payload=hashlib.sha256(data).hexdigest()), [("damaged", 1)], bad)
        check("unsigned", lambda a: raw.put("buc", "o", data, payload=UNSIGNED), [], bad)
        check("chunked", lambda a: raw.chunked("PUT", "/buc/o", pieces, spoil=a), [("damaged", flip)], bad)
        check("signed trailer", lambda a: raw.chunked("PUT", "/buc/o", pieces, trailer=("x-amz-checksum-crc32", crc), spoil=a), [("damaged", flip)], bad)
        check("unsigned trailer", lambda a: raw.chunked("PUT", "/buc/o", pieces, trailer=("x-amz-checksum-crc32", crc), signed=False, spoil=a),
              [("damaged", flip)], bad)
        with t.case(where + " wrong trailer value"):
            raw.delete("buc", "o")
            r = raw.chunked("PUT", "/buc/o", pieces, trailer=("x-amz-checksum-crc32", digest("crc32", b"x")), signed=False)
            want((r.status, r.code), (400, "BadDigest"))
            want(raw.head("buc", "o").status, 404)
        with t.case(where + " trailer announced but sent as a header"):
            r = raw.chunked("PUT", "/buc/o", pieces, headers=[("x-amz-checksum-crc32", crc)])
            want(r.status, 200)
        with t.case(where + " decoded length too small or large"):
            for n in (len(data) - 1, len(data) + 1):
                raw.delete("buc", "o")
                r = raw.chunked("PUT", "/buc/o", pieces, decoded=n)
                assert 400 <= r.status < 500, r
                want(raw.head("buc", "o").status, 404)
        s.stop()


def test_kept(t):
    """CRC64NVME is kept for every object, whatever the client sent."""
    raw = t.s3(t.server())
    raw.call("PUT", "/buc")
    raw.put("buc", "plain", BODY)
    with t.case("plain put"):
        h = raw.head("buc", "plain", [("x-amz-checksum-mode", "ENABLED")])
        want((h.header("x-amz-checksum-crc64nvme"), h.header("x-amz-checksum-type")), (digest("crc64nvme", BODY), "FULL_OBJECT"))
    with t.case("not sent when not asked"):
        want(raw.head("buc", "plain").header("x-amz-checksum-crc64nvme"), None)


def test_multipart(t):
    """Composite and full-object checksums of multipart uploads, as boto3 computes them."""
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    data = t.body((5 << 20) + 100, "mp")
    pieces = [data[:5 << 20], data[5 << 20:]]
    for name, kind in (("crc32", "COMPOSITE"), ("crc32c", "COMPOSITE"), ("sha1", "COMPOSITE"), ("sha256", "COMPOSITE"),
                       ("crc32", "FULL_OBJECT"), ("crc32c", "FULL_OBJECT"), ("crc64nvme", "FULL_OBJECT")):
        with t.case("%s %s" % (name, kind)):
            field = "Checksum" + name.upper()
            u = c.create_multipart_upload(Bucket="buc", Key="m", ChecksumAlgorithm=name.upper(), ChecksumType=kind)
            want((u["ChecksumAlgorithm"], u["ChecksumType"]), (name.upper(), kind))
            parts = []
            for n, p in enumerate(pieces, 1):
                r = c.upload_part(Bucket="buc", Key="m", UploadId=u["UploadId"], PartNumber=n, Body=p, ChecksumAlgorithm=name.upper())
                want(r[field], digest(name, p))
                parts.append({"PartNumber": n, "ETag": r["ETag"], field: r[field]})
            r = c.complete_multipart_upload(Bucket="buc", Key="m", UploadId=u["UploadId"], MultipartUpload={"Parts": parts}, ChecksumType=kind)
            if kind == "FULL_OBJECT":
                expected = digest(name, data)
            else:
                expected = digest(name, b"".join(base64.b64decode(digest(name, p)) for p in pieces)) + "-2"
            want((r[field], r["ChecksumType"]), (expected, kind))
            h = c.head_object(Bucket="buc", Key="m", ChecksumMode="ENABLED")
            want((h[field], h["ChecksumType"]), (expected, kind))
            assert c.get_object(Bucket="buc", Key="m", ChecksumMode="ENABLED")["Body"].read() == data
    for name, kind in (("crc64nvme", "COMPOSITE"), ("sha1", "FULL_OBJECT"), ("sha256", "FULL_OBJECT")):
        with t.case("%s %s is refused" % (name, kind)):
            want(error(c.create_multipart_upload, Bucket="buc", Key="m", ChecksumAlgorithm=name.upper(), ChecksumType=kind), ("InvalidRequest", 400))
    with t.case("wrong full-object value at the end"):
        u = c.create_multipart_upload(Bucket="buc", Key="w", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"]
        r = c.upload_part(Bucket="buc", Key="w", UploadId=u, PartNumber=1, Body=b"data", ChecksumAlgorithm="CRC32")
        want(error(c.complete_multipart_upload, Bucket="buc", Key="w", UploadId=u, ChecksumType="FULL_OBJECT", ChecksumCRC32=digest("crc32", b"x"),
                   MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": r["ETag"], "ChecksumCRC32": r["ChecksumCRC32"]}]}), ("BadDigest", 400))
