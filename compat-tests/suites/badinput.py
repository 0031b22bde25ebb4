"""Bad requests over both APIs: each gets its exact status and code, memory stays flat, nothing is stored."""

import base64
import gzip
import hashlib
import json
import os

from harness.sigv4 import EMPTY, UNSIGNED, Wire, http, render

from .native import assign, multipart
from .s3_objects import want

X = "/buc/bad"
TABLE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tables", "badinput.tsv")
KIB = 1024


def raw_send(addr, data, method="GET"):
    """Bytes as they are; the answer, or None when the server just closed."""
    w = Wire(addr, timeout=20)
    try:
        try:
            w.send(data)
        except OSError:
            pass
        try:
            return w.read(method)
        except OSError:
            return None
    finally:
        w.close()


def auth_table(c):
    """Malformed or wrong authentication: (label, bytes, status, code)."""
    now = c.now()
    day = now[:8]

    def header(value, extra=()):
        return render("GET", "/buc", [("host", c.addr), ("x-amz-date", now), ("x-amz-content-sha256", EMPTY), ("authorization", value)] + list(extra))
    good = c.sign("GET", "/buc", [], [("host", c.addr), ("x-amz-date", now), ("x-amz-content-sha256", EMPTY)], EMPTY)[0]
    cred = good.split("Credential=")[1].split(",")[0]
    malformed = (400, "AuthorizationHeaderMalformed")
    mismatch = (403, "SignatureDoesNotMatch")
    invalid = {(400, "InvalidArgument"), malformed, (403, "AccessDenied")}
    yield "auth garbage", header("garbage"), invalid
    yield "auth empty", header(""), invalid
    yield "auth basic", header("Basic dXNlcjpwYXNz"), invalid
    yield "auth bearer", header("Bearer token"), invalid
    yield "auth algorithm only", header("AWS4-HMAC-SHA256"), invalid
    yield "auth no signature", header(good.split(",Signature")[0]), invalid
    yield "auth no signed headers", header("AWS4-HMAC-SHA256 Credential=%s,Signature=%s" % (cred, "0" * 64)), invalid
    yield "auth no credential", header("AWS4-HMAC-SHA256 " + good.split(",", 1)[1]), invalid
    yield "auth credential without scope", header(good.replace(cred, c.access)), invalid
    yield "auth credential with a bad day", header(good.replace(day + "/", "2026xx01/", 1)), invalid | {mismatch}
    yield "auth other service", header(good.replace("/s3/", "/ec2/")), invalid | {mismatch, (501, "NotImplemented")}
    yield "auth scope not ended", header(good.replace("aws4_request", "aws5_request")), invalid | {mismatch}
    yield "auth unknown key", header(good.replace(c.access, "AKIDUNKNOWN0000000000")), {(403, "InvalidAccessKeyId")}
    yield "auth zero signature", header(good[:-64] + "0" * 64), {mismatch}
    yield "auth short signature", header(good[:-2]), invalid | {mismatch}
    yield "auth signature not hex", header(good[:-4] + "zzzz"), invalid | {mismatch}
    yield "auth version 2", header("AWS %s:c2lnbmF0dXJlc2lnbmF0dXJl" % c.access), invalid | {(400, "InvalidRequest"), (501, "NotImplemented"), mismatch}
    yield "auth ecdsa", header(good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")), invalid | {(501, "NotImplemented")}
    yield "auth 20 KiB long", header("AWS4-HMAC-SHA256 " + "a" * 20 * KIB), invalid | {(431, None), (400, None)}
    yield "auth twice", header(good, [("authorization", good)]), invalid | {mismatch, (400, "InvalidRequest"), (200, None)}
    yield "auth missing", render("GET", "/buc", [("host", c.addr)]), {(403, "AccessDenied")}
    yield "auth no date", c.build("GET", "/buc").replace(b"x-amz-date: " + c.now()[:8].encode(), b"x-other: 2", 1), {(400, "InvalidRequest"), (403, "AccessDenied")}
    yield "auth bad date", c.build("GET", "/buc", when="yesterday"), invalid | {mismatch}
    yield "auth date of last year", c.build("GET", "/buc", when="20250101T000000Z"), {(403, "RequestTimeTooSkewed")}
    yield "auth date in an hour", c.build("GET", "/buc", when=c.now(3600)), {(403, "RequestTimeTooSkewed")}
    yield "auth wrong secret", c.build("GET", "/buc", secret="wrong"), {mismatch}
    yield "auth other region", c.build("GET", "/buc", scope="%s/mars-1/s3/aws4_request" % day), {mismatch, malformed}
    yield "auth signed for another path", c.build("GET", "/buc").replace(b"GET /buc", b"GET /ccc", 1), {mismatch}
    yield "auth signed for another method", c.build("GET", "/buc").replace(b"GET /buc", b"DELETE /buc", 1), {mismatch}
    yield "auth query added after signing", c.build("GET", "/buc").replace(b"GET /buc ", b"GET /buc?max-keys=1 ", 1), {mismatch}
    yield "unsigned copy source", c.build("PUT", X, unsigned=[("x-amz-copy-source", "/buc/x")]), {(403, "AccessDenied")}
    yield "unsigned acl", c.build("PUT", X, unsigned=[("x-amz-acl", "private")]), {(403, "AccessDenied")}
    yield "unsigned metadata", c.build("PUT", X, unsigned=[("x-amz-meta-a", "buc")]), {(403, "AccessDenied")}
    yield "no content hash", c.build("GET", "/buc").replace(b"x-amz-content-sha256", b"x-other-content-sha25", 1), invalid | {mismatch, (400, "InvalidRequest")}
    yield "bad content hash", c.build("PUT", X, (), (), b"abc", payload="zz"), {(400, "XAmzContentSHA256Mismatch"), (400, "InvalidArgument"), (400, "InvalidRequest")}
    yield "hash of other bytes", c.build("PUT", X, (), (), b"abc", payload=hashlib.sha256(b"x").hexdigest()), {(400, "XAmzContentSHA256Mismatch")}
    yield "unknown streaming mode", c.build("PUT", X, (), (), b"abc", payload="STREAMING-NONSENSE"), {(400, "InvalidArgument"), (400, "InvalidRequest"), (501, "NotImplemented"), (400, "XAmzContentSHA256Mismatch")}
    for what, kw in (("zero life", {"expires": 0}), ("negative life", {"expires": -1}), ("too long a life", {"expires": 604801}), ("life that is no number", {"expires": "soon"})):
        yield "presigned " + what, render("GET", c.presign("GET", "/buc/o", **kw), [("host", c.addr)]), {(400, "AuthorizationQueryParametersError"), (403, "AccessDenied")}
    yield "presigned expired", render("GET", c.presign("GET", "/buc/o", 5, when=c.now(-100)), [("host", c.addr)]), {(403, "AccessDenied")}
    yield "presigned damaged", render("GET", c.presign("GET", "/buc/o")[:-3] + "abc", [("host", c.addr)]), {mismatch}
    yield "presigned without a date", render("GET", c.presign("GET", "/buc/o").replace("X-Amz-Date", "X-Amz-Dat"), [("host", c.addr)]), {(400, "AuthorizationQueryParametersError"), mismatch}
    yield "presigned other host", render("GET", c.presign("GET", "/buc/o"), [("host", "example.com")]), {mismatch}


def s3_table(c):
    """Signed but wrong: (label, bytes, {(status, code)})."""
    def req(label, method, path, codes, query=(), headers=(), body=b"", **kw):
        codes = codes if isinstance(codes, set) else {codes}
        return label, c.build(method, path, query, headers, body, **kw), codes
    arg, inv, uri = (400, "InvalidArgument"), (400, "InvalidRequest"), (400, "InvalidURI")
    xml = (400, "MalformedXML")
    for name in ("ab", "Big", "a..b", "192.168.1.1", "-a-", "a" * 64, "a_b", "xn--abc", "abc-s3alias"):
        codes = {(400, "InvalidBucketName")}
        yield req("bucket name " + name[:10], "PUT", "/" + name, codes)
    yield req("bucket that is not there", "GET", "/nothere", (404, "NoSuchBucket"), [("list-type", "2")])
    yield req("object in no bucket", "PUT", "/nothere/k", (404, "NoSuchBucket"), body=b"1")
    yield req("missing key", "GET", "/buc/none", (404, "NoSuchKey"))
    yield req("key of 1025 bytes", "PUT", "/buc/" + "k" * 1025, (400, "KeyTooLongError"), body=b"1")
    yield req("key of 1026 bytes in two-byte letters", "PUT", "/buc/" + "%C3%BC" * 513, (400, "KeyTooLongError"), body=b"1")
    yield req("key that is not UTF-8", "PUT", "/buc/%FF%FE", {uri, arg, inv}, body=b"1")
    yield req("key with a NUL", "PUT", "/buc/a%00b", {uri, arg, inv}, body=b"1")
    yield req("bad percent", "GET", "/buc/a%zz", {uri, (403, "SignatureDoesNotMatch"), arg, (404, "NoSuchKey")})
    for k in ("..", "../x", "a/../b", "a/..", "%2e%2e/x", "./x", "a/./b"):
        # Dots are plain characters of a key: a GET finds nothing, never a file or another key.
        yield req("dots " + k, "GET", "/buc/" + k, {(404, "NoSuchKey"), uri, (403, "SignatureDoesNotMatch"), arg})
    for r in ("bytes=10-", "bytes=4-9", "bytes=-0"):
        yield req("range " + r, "GET", "/buc/o", (416, "InvalidRange"), headers=[("range", r)])
    for q, codes in (([("max-keys", "-1")], arg), ([("max-keys", "abc")], arg), ([("max-keys", "99999999999999999999")], arg), ([("max-keys", "1.5")], arg),
                     ([("continuation-token", "%%%")], arg), ([("encoding-type", "rot13")], arg)):
        yield req("list %s=%s" % q[0], "GET", "/buc", codes, [("list-type", "2")] + q)
    yield req("list-type 3", "GET", "/buc", {arg, inv, (501, "NotImplemented"), (200, None)}, [("list-type", "3")])
    yield req("max-buckets 0", "GET", "/", arg, [("max-buckets", "0")])
    yield req("max-buckets 10001", "GET", "/", arg, [("max-buckets", "10001")])
    yield req("max-uploads -1", "GET", "/buc", arg, [("uploads", ""), ("max-uploads", "-1")])
    # XML bodies.
    def md5(b):
        return [("content-md5", base64.b64encode(hashlib.md5(b).digest()).decode())]
    for label, body in (("empty", b""), ("not xml", b"hello"), ("cut off", b"<Delete><Object><Key>a</Key>"), ("other root", b"<Remove></Remove>"),
                        ("no objects", b"<Delete></Delete>"), ("not UTF-8", b"<Delete><Object><Key>\xff</Key></Object></Delete>"),
                        ("entity bomb", b'<!DOCTYPE a [<!ENTITY x "y">]><Delete><Object><Key>&x;</Key></Object></Delete>'),
                        ("1001 keys", b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>"),
                        ("object without a key", b"<Delete><Object></Object></Delete>"),
                        ("reference to NUL", b"<Delete><Object><Key>a&#0;</Key></Object></Delete>"),
                        ("reference to no character", b"<Delete><Object><Key>a&#xD800;&#x1;</Key></Object></Delete>"),
                        ("cut off in a reference", b"<Delete><Object><Key>a&#x1;</Key></Object><Object><Key>&#x")):
        yield req("delete xml " + label, "POST", "/buc", {xml, (400, "MissingRequestBodyError")}, [("delete", "")], md5(body), body)
    doc = b"<Delete><Object><Key>a</Key></Object></Delete>"
    yield req("delete without any checksum", "POST", "/buc", inv, [("delete", "")], (), doc)
    yield req("delete with a wrong md5", "POST", "/buc", (400, "BadDigest"), [("delete", "")], md5(b"x"), doc)
    yield req("delete with a malformed md5", "POST", "/buc", (400, "InvalidDigest"), [("delete", "")], [("content-md5", "!!!")], doc)
    yield req("delete of 3 MiB", "POST", "/buc", {xml, (400, "MaxMessageLengthExceeded"), (413, None), (400, "EntityTooLarge")}, [("delete", "")],
              md5(b"x"), b"<Delete>" + b" " * (3 << 20))
    yield req("create bucket xml", "PUT", "/newb", xml, body=b"<CreateBucketConfiguration><Loc")
    yield req("create bucket elsewhere", "PUT", "/newb", {(400, "InvalidLocationConstraint"), (400, "IllegalLocationConstraintException")},
              body=b"<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>")
    # Multipart.
    for n in ("0", "-1", "10001", "x", "99999999999"):
        yield req("part number " + n, "PUT", X, arg, [("partNumber", n), ("uploadId", "abc")], body=b"1")
    nou = (404, "NoSuchUpload")
    yield req("part of no upload", "PUT", X, nou, [("partNumber", "1"), ("uploadId", "abc")], body=b"1")
    yield req("part with a path as upload id", "PUT", X, nou, [("partNumber", "1"), ("uploadId", "../../etc")], body=b"1")
    yield req("list parts of no upload", "GET", X, nou, [("uploadId", "abc")])
    yield req("abort no upload", "DELETE", X, nou, [("uploadId", "abc")])
    ok = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
    yield req("complete no upload", "POST", X, nou, [("uploadId", "abc")], body=ok)
    for label, body in (("empty", b""), ("not xml", b"x"), ("cut off", ok[:-5]), ("no parts", b"<CompleteMultipartUpload></CompleteMultipartUpload>"),
                        ("part number x", ok.replace(b">1<", b">x<"))):
        yield req("complete xml " + label, "POST", X, {xml, inv}, [("uploadId", c.upload)], body=body)
    yield req("complete with a missing part", "POST", "/buc/up", (400, "InvalidPart"), [("uploadId", c.upload)], body=ok)
    yield req("complete with part 0", "POST", "/buc/up", {arg, xml, (400, "InvalidPart")}, [("uploadId", c.upload)], body=ok.replace(b">1<", b">0<"))
    yield req("upload id of another key", "PUT", "/buc/other", nou, [("partNumber", "1"), ("uploadId", c.upload)], body=b"1")
    yield req("post without a query", "POST", X, (405, "MethodNotAllowed"))
    # Copies.
    for label, src, codes in (("no slash", "buc", {arg, inv, (404, "NoSuchKey")}), ("empty", "", {arg, inv}), ("bad percent", "/buc/%zz", {arg, inv, (404, "NoSuchKey")}),
                              ("no key", "/buc/", {arg, inv, (404, "NoSuchKey")}), ("no bucket", "/zzz-none/k", (404, "NoSuchBucket")), ("missing key", "/buc/none", (404, "NoSuchKey")),
                              ("dots", "/buc/../buc/o", {(404, "NoSuchKey"), arg, inv}), ("a version", "/buc/o?versionId=abc", {arg, inv, (404, "NoSuchVersion"), (501, "NotImplemented")})):
        yield req("copy source " + label, "PUT", X, codes, headers=[("x-amz-copy-source", src)])
    yield req("copy onto itself", "PUT", "/buc/o", inv, headers=[("x-amz-copy-source", "/buc/o")])
    yield req("copy directive", "PUT", X, {arg, inv}, headers=[("x-amz-copy-source", "/buc/o"), ("x-amz-metadata-directive", "STEAL")])
    yield req("copy if-match", "PUT", X, (412, "PreconditionFailed"), headers=[("x-amz-copy-source", "/buc/o"), ("x-amz-copy-source-if-match", '"x"')])
    yield req("copy part range", "PUT", "/buc/up", {arg, (416, "InvalidRange"), inv}, [("partNumber", "1"), ("uploadId", c.upload)],
              [("x-amz-copy-source", "/buc/o"), ("x-amz-copy-source-range", "bytes=0-99")])
    for r in ("bytes=0-1,2-3", "bytes=2-1", "lines=0-1", "garbage"):
        # A range that a GET ignores is a mistake where a part is made of it.
        yield req("copy part range " + r, "PUT", "/buc/up", arg, [("partNumber", "1"), ("uploadId", c.upload)],
                  [("x-amz-copy-source", "/buc/o"), ("x-amz-copy-source-range", r)])
    # Bodies and digests.
    yield req("md5 malformed", "PUT", X, (400, "InvalidDigest"), headers=[("content-md5", "abc")], body=b"1")
    yield req("md5 of 15 bytes", "PUT", X, (400, "InvalidDigest"), headers=[("content-md5", base64.b64encode(b"x" * 15).decode())], body=b"1")
    yield req("md5 wrong", "PUT", X, (400, "BadDigest"), headers=md5(b"x"), body=b"1")
    for name, size in (("crc32", 4), ("crc32c", 4), ("crc64nvme", 8), ("sha1", 20), ("sha256", 32)):
        yield req(name + " wrong", "PUT", X, {(400, "BadDigest"), (400, "XAmzContentChecksumMismatch")}, headers=[("x-amz-checksum-" + name, base64.b64encode(bytes(size)).decode())], body=b"1")
        yield req(name + " malformed", "PUT", X, {inv, arg, (400, "InvalidDigest"), (400, "BadDigest")}, headers=[("x-amz-checksum-" + name, "*")], body=b"1")
    yield req("metadata of 3 KiB", "PUT", X, (400, "MetadataTooLarge"), headers=[("x-amz-meta-a", "v" * 3 * KIB)], body=b"1")
    yield req("if-none-match that is an etag", "PUT", X, {(501, "NotImplemented"), arg, inv}, headers=[("if-none-match", '"abc"')], body=b"1")
    yield req("if-match on nothing", "PUT", X, (404, "NoSuchKey"), headers=[("if-match", '"abc"')], body=b"1")
    yield req("both conditions", "PUT", X, {(501, "NotImplemented"), arg, inv, (404, "NoSuchKey"), (412, "PreconditionFailed")}, headers=[("if-match", '"abc"'), ("if-none-match", "*")], body=b"1")
    for h, v in (("x-amz-storage-class", "COLDEST"), ("x-amz-acl", "everyone"), ("x-amz-server-side-encryption", "ROT13"), ("x-amz-tagging", "a=b"),
                 ("x-amz-object-lock-mode", "MAYBE"), ("x-amz-sdk-checksum-algorithm", "ADLER")):
        yield req("header %s: %s" % (h, v), "PUT", X, {arg, inv, (501, "NotImplemented"), (400, "InvalidStorageClass"), (400, "InvalidEncryptionAlgorithmError"),
                                                      (400, "AccessControlListNotSupported")}, headers=[(h, v)], body=b"1")
    yield req("decoded length missing", "PUT", X, {(411, "MissingContentLength"), inv, arg, (400, "IncompleteBody")}, body=b"0\r\n\r\n", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers=[("x-amz-trailer", "x-amz-checksum-crc32")])
    yield req("decoded length no number", "PUT", X, {inv, arg, (400, "IncompleteBody")}, body=b"0\r\n\r\n", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
              headers=[("x-amz-decoded-content-length", "many"), ("x-amz-trailer", "x-amz-checksum-crc32")])
    for label, frame in (("size not hex", b"zz\r\nabc\r\n0\r\n\r\n"), ("size huge", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), ("no end", b"3\r\nabc\r\n"), ("no line end", b"3\r\nabcXX0\r\n\r\n"),
                         ("negative", b"-3\r\nabc\r\n0\r\n\r\n")):
        yield req("chunk " + label, "PUT", X, {inv, arg, (400, "IncompleteBody"), (400, "InvalidChunkSizeError"), (400, "MalformedTrailerError"), (400, "BadDigest")}, body=frame,
                  payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers=[("x-amz-decoded-content-length", "3"), ("x-amz-trailer", "x-amz-checksum-crc32")])
    yield req("5 GiB and one byte announced", "PUT", X, (400, "EntityTooLarge"), length=False, payload=UNSIGNED, unsigned=[("content-length", str((5 << 30) + 1))])
    yield req("upload with an unknown checksum", "POST", X, {arg, inv}, [("uploads", "")], [("x-amz-checksum-algorithm", "ADLER")])
    yield req("response override unsigned", "GET", "/buc/o", {(403, "SignatureDoesNotMatch"), arg, (200, None)}, [("response-expires", "never")])
    not_allowed = (405, "MethodNotAllowed")
    yield req("patch", "PATCH", "/buc/o", not_allowed)
    yield req("trace", "TRACE", "/buc/o", not_allowed)
    for method in ("PUT", "POST", "DELETE", "PATCH", "BREW"):
        yield req(method.lower() + " at the root", method, "/", not_allowed)
    yield req("unknown method", "BREW", "/buc", not_allowed)
    yield req("post to a bucket", "POST", "/buc", not_allowed)
    yield req("policy query", "PUT", "/buc", (501, "NotImplemented"), [("policy", "")], body=b"{}")


def protocol_table(addr):
    """Bytes that are hardly HTTP."""
    h = "Host: %s\r\n" % addr
    bad = {400, 404, 405, 431, 501, 505, 414, 408, 403, None}
    for label, data in (("garbage", b"\x00\x01\x02\r\n\r\n"), ("no version", b"GET /\r\n\r\n"), ("version 9", b"GET / HTTP/9.9\r\n\r\n"),
                        ("header without a colon", ("GET /buc HTTP/1.1\r\n" + h + "nonsense\r\n\r\n").encode()), ("header of 1 MiB", ("GET /buc HTTP/1.1\r\n" + h + "x: ").encode() + b"a" * (1 << 20) + b"\r\n\r\n"),
                        ("2000 headers", ("GET /buc HTTP/1.1\r\n" + h + "".join("x%d: y\r\n" % i for i in range(2000)) + "\r\n").encode()),
                        ("target of 1 MiB", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n"), ("two lengths", ("PUT /buc/x HTTP/1.1\r\n" + h + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx").encode()),
                        ("length and chunked", ("PUT /buc/x HTTP/1.1\r\n" + h + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode()),
                        ("length -1", ("PUT /buc/x HTTP/1.1\r\n" + h + "Content-Length: -1\r\n\r\n").encode()), ("length abc", ("PUT /buc/x HTTP/1.1\r\n" + h + "Content-Length: abc\r\n\r\n").encode()),
                        ("chunk size zz", ("PUT /buc/x HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n").encode()), ("no host", b"GET /buc HTTP/1.1\r\n\r\n"),
                        ("control bytes in a header", ("GET /buc HTTP/1.1\r\n" + h + "x: a\x01b\r\n\r\n").encode()), ("space in the target", ("GET /buc c HTTP/1.1\r\n" + h + "\r\n").encode()),
                        ("tls hello on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 50)):
        yield label, data, bad


def native_table(s, fid):
    """(label, port, method, target, headers, body, statuses)."""
    vid, rest = fid.split(",")
    key, cookie = rest[:-8], rest[-8:]
    v, m = "volume", "main"
    for label, target in (("letters as volume", "/x,%s" % rest), ("volume over 32 bits", "/4294967296,%s" % rest), ("volume -1", "/-1,%s" % rest), ("no key", "/%s," % vid),
                          ("key too short", "/%s,1234567" % vid), ("cookie only", "/%s,%s" % (vid, cookie)), ("key of 25 digits", "/%s,%s" % (vid, "1" * 25)), ("key not hex", "/%s,zz%s" % (vid, cookie)),
                          ("delta not a number", "/%s_x" % fid), ("delta overflows", "/%s,ffffffffffffffff%s_5" % (vid, cookie)), ("delta negative", "/%s_-1" % fid), ("volume only", "/%s" % vid),
                          ("five segments", "/a/b/c/d/e"), ("dots", "/../../etc/passwd"), ("encoded dots", "/%2e%2e/%2e%2e/etc/passwd"), ("NUL", "/%s%%00" % fid), ("space", "/%s%%20" % fid), ("two commas", "/%s,%s" % (fid, rest))):
        for method in ("GET", "PUT", "DELETE"):
            yield "fid %s %s" % (label, method), v, method, target, [], b"x" if method == "PUT" else b"", {400} | ({404} if "/" in target[1:] else set())
    wrong = "%08x" % (int(cookie, 16) ^ 0xFFFF)
    yield "wrong cookie GET", v, "GET", "/%s,%s%s" % (vid, key, wrong), [], b"", {404}
    yield "wrong cookie DELETE", v, "DELETE", "/%s,%s%s" % (vid, key, wrong), [], b"", {400}
    yield "wrong cookie PUT", v, "PUT", "/%s,%s%s" % (vid, key, wrong), [], b"x", {500}
    yield "volume that is not there", v, "GET", "/4000000000,%s" % rest, [], b"", {404}
    yield "write to a volume that is not there", v, "PUT", "/4000000000,%s" % rest, [], b"x", {404, 500}
    yield "range out of reach", v, "GET", "/" + fid, [("Range", "bytes=99999-")], b"", {416}
    yield "md5 wrong", v, "PUT", "/" + fid, [("Content-MD5", base64.b64encode(bytes(16)).decode())], b"x", {400}
    yield "md5 malformed", v, "PUT", "/" + fid, [("Content-MD5", "zz")], b"x", {400}
    yield "gzip that is none", v, "PUT", "/" + fid, [("Content-Encoding", "gzip")], b"plain", {400}
    yield "gzip cut off", v, "PUT", "/" + fid, [("Content-Encoding", "gzip")], gzip.compress(b"a" * 9999)[:-9], {400}
    yield "gzip with a tail", v, "PUT", "/" + fid, [("Content-Encoding", "gzip")], gzip.compress(b"a" * 99) + b"tail", {400}
    yield "gzip bomb", v, "PUT", "/" + fid, [("Content-Encoding", "gzip")], gzip.compress(bytes(40 << 20)), {400, 413}
    yield "over the size limit", v, "PUT", "/" + fid, [], b"x" * ((16 << 20) + 1), {400, 413}
    yield "pairs of 60 KiB", v, "PUT", "/" + fid, [("Seaweed-%d" % i, "v" * 6000) for i in range(10)], b"x", {400, 431}
    for name in ("Content-Length", "Transfer-Encoding", "Connection", "Content-Type"):
        yield "pair named " + name, v, "PUT", "/" + fid, [("Seaweed-" + name, "1")], b"x", {400}
    yield "ttl not yet", v, "PUT", "/" + fid + "?ttl=3m", [], b"x", {400, 406}
    yield "ts no number", v, "PUT", "/" + fid + "?ts=soon", [], b"x", {400}
    form = [("Content-Type", "multipart/form-data; boundary=BB")]
    for label, h, b in (("no boundary", [("Content-Type", "multipart/form-data")], b"--BB\r\n\r\nx\r\n--BB--\r\n"), ("cut off", form, multipart("a", b"xyz")[1][:-12]), ("empty", form, b""),
                        ("no parts", form, b"--BB--\r\n"), ("not a form", form, b"hello"),
                        ("md5 of a part wrong", form, multipart("a", b"x", part_headers=[("Content-MD5", base64.b64encode(bytes(16)).decode())])[1])):
        yield "form " + label, v, "POST", "/" + fid, h, b, {400, 413}
    yield "unknown method", v, "BREW", "/" + fid, [], b"", {400, 405}
    yield "patch", v, "PATCH", "/" + fid, [], b"x", {400, 405}
    for q in ("count=99999999999", "replication=abc", "replication=001", "replication=9999", "ttl=3x", "ttl=5m", "dataCenter=none", "rack=none", "dataNode=1.2.3.4:5", "disk=tape",
              "collection=" + "c" * 300, "collection=../x"):
        yield "assign " + q[:24], m, "GET", "/dir/assign?" + q, [], b"", {400, 406}
    for q in ("", "volumeId=", "volumeId=abc", "volumeId=4000000000", "volumeId=-1", "fileId=,", "volumeId=99999999999"):
        yield "lookup " + q, m, "GET", "/dir/lookup?" + q, [], b"", {404, 400}
    for path in ("/vol/grow", "/vol/grow?count=x", "/vol/grow?count=0"):
        yield "grow " + path, m, "GET", path, [], b"", {406, 400, 404, 501}
    yield "vacuum threshold", m, "GET", "/vol/vacuum?garbageThreshold=x", [], b"", {406, 400, 404, 501}
    yield "submit by GET", m, "GET", "/submit", [], b"", {405, 404, 501}
    yield "unknown page", m, "GET", "/no/such/page", [], b"", {404}
    yield "delete a collection without a name", m, "GET", "/col/delete", [], b"", {400, 404, 501}


def setup(t):
    s = t.server("-fileSizeLimitMB=16")
    c = t.s3(s)
    want(c.call("PUT", "/buc").status, 200)
    want(c.put("buc", "o", b"data").status, 200)
    r = c.call("POST", "/buc/up", [("uploads", "")])
    c.upload = r.body.decode().split("<UploadId>")[1].split("<")[0]
    return s, c


def untouched(t, s, c):
    """Nothing appeared, the process lives, memory is where it was."""
    with t.case("nothing was stored"):
        text = c.call("GET", "/buc", [("list-type", "2")]).body.decode()
        want((text.count("<Key>"), "<Key>o</Key>" in text), (1, True))
        want(c.get("buc", "o").body, b"data")
        want(c.call("GET", "/").body.count(b"<Name>"), 1)
        text = c.call("GET", "/buc", [("uploads", "")]).body.decode()
        want(text.count("<UploadId>"), 1)
    with t.case("alive"):
        assert s.alive() and "panicked" not in s.log()


def flat(t, s, rounds):
    """Runs the requests again and again. Memory that a round leaves behind would add up; what the allocator keeps once does not."""
    rss = []
    for i in range(7 if not t.full else 20):
        rounds(i)
        rss.append(s.rss_anon())
    with t.case("memory"):
        grown = min(rss[-3:]) - max(rss[1:4])
        t.note("RssAnon over %d rounds: %s MiB" % (len(rss), " ".join(str(r >> 20) for r in rss)))
        assert grown < 8 << 20, rss


def golden():
    """label -> (status, code): the exact answer of every bad request, written down once and looked over."""
    with open(TABLE, encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]
    return {label: (int(status) if status != "-" else None, code if code != "-" else None) for label, status, code in rows}


def note(label, r):
    """Collects the answers of a run that writes the table anew (RECORD=file in the environment)."""
    if os.environ.get("RECORD"):
        with open(os.environ["RECORD"], "a", encoding="utf-8") as f:
            f.write("%s\t%s\t%s\n" % (label, r.status if r else "-", (r.code if r else None) or "-"))


def exact(label, r):
    """The answer is the one in the table."""
    note(label, r)
    expected = golden().get(label)
    got = (r.status, r.code) if r is not None else (None, None)
    assert os.environ.get("RECORD") or got == expected, "got %s, the table says %s" % (got, expected)


def judge(t, label, r, allowed):
    with t.case(label):
        exact(label, r)
        got = (r.status, r.code) if r is not None else (None, None)
        assert got in allowed or (r is not None and not r.body and (r.status, None) in {(s, None) for s, _ in allowed}), "got %s %r, want %s" % (
            got, r and r.body[:150], sorted(map(str, allowed)))
        if r is not None and r.status >= 400:
            assert r.header("x-amz-request-id") or r.status in (400, 431), "no request id"


def test_s3(t):
    """Authentication, headers, XML, ranges, uploads, copies, digests, chunk frames."""
    s, c = setup(t)
    table = list(auth_table(c)) + list(s3_table(c))
    for label, data, allowed in table:
        judge(t, label, raw_send(s.addr["s3"], data), allowed)
        t.count("bad requests")

    def again(i):
        for label, data, _ in list(auth_table(c)) + list(s3_table(c)):
            raw_send(s.addr["s3"], data)
    flat(t, s, again)
    untouched(t, s, c)


def test_protocol(t):
    """Things that are not HTTP, on every port."""
    s, c = setup(t)
    for port in ("s3", "volume", "main"):
        for label, data, allowed in protocol_table(s.addr[port]):
            r = raw_send(s.addr[port], data)
            t.count("bad requests")
            with t.case("%s %s" % (port, label)):
                exact("%s %s" % (port, label), r)
                assert (r.status if r else None) in allowed, r
    for label, cut in (("head cut off", 40), ("body cut off", None)):
        with t.case(label):
            data = c.build("PUT", X, (), (), b"x" * 5000)
            w = Wire(s.addr["s3"], timeout=5)
            w.send(data[:cut] if cut else data[:-100])
            w.close()
            t.count("bad requests")
    untouched(t, s, c)


def test_native(t):
    """Fids, forms, digests, limits, parameters."""
    s, c = setup(t)
    fid = assign(s)["fid"]
    want(http(s.addr["volume"], "PUT", "/" + fid, body=b"kept").status, 201)

    def send(port, method, target, headers, body):
        try:
            return http(s.addr[port], method, target, headers, body)
        except OSError:
            return None
    for label, port, method, target, headers, body, statuses in native_table(s, fid):
        r = send(port, method, target, headers, body)
        t.count("bad requests")
        with t.case(label):
            exact("native " + label, r)
            assert r is not None and r.status in statuses, "got %r, want %s" % (r, statuses)
            if r.status >= 400 and r.body and method != "GET":
                assert "size" not in r.body.decode(errors="replace") or json.loads(r.body).get("size", 0) == 0, r.body
    with t.case("the good fid is as it was"):
        want(http(s.addr["volume"], "GET", "/" + fid).body, b"kept")

    def again(i):
        for _, port, method, target, headers, body, _ in native_table(s, fid):
            send(port, method, target, headers, body)
    flat(t, s, again)
    untouched(t, s, c)
