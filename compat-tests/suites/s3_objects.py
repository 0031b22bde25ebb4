"""Objects over S3: what goes in comes out, ranges, metadata, overrides, copies, deletes, presigned URLs."""

import base64
import hashlib
import re

from botocore.exceptions import ClientError

from harness.sigv4 import UNSIGNED, Wire, http

SIZES = [0, 1, 15, 65535, 65536, 65537, (8 << 20) - 1, 8 << 20, (8 << 20) + 1]


def error(f, *a, **kw):
    """(code, status) of the error that a boto3 call must raise."""
    try:
        f(*a, **kw)
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("no error")


def want(got, expected):
    assert got == expected, "got %r, want %r" % (got, expected)


def test_roundtrip(t):
    """Every edge size: bytes, ETag, length, type, metadata, LIST entry."""
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    for n in SIZES:
        with t.case("size %d" % n):
            data = t.body(n, n)
            r = c.put_object(Bucket="buc", Key="o%d" % n, Body=data, ContentType="text/x-test", Metadata={"Who": "Jx", "n": str(n)})
            etag = '"%s"' % hashlib.md5(data).hexdigest()
            want(r["ETag"], etag)
            g = c.get_object(Bucket="buc", Key="o%d" % n)
            assert g["Body"].read() == data
            want((g["ETag"], g["ContentLength"], g["ContentType"], g["Metadata"]), (etag, n, "text/x-test", {"who": "Jx", "n": str(n)}))
            h = c.head_object(Bucket="buc", Key="o%d" % n)
            want((h["ETag"], h["ContentLength"], h["AcceptRanges"]), (etag, n, "bytes"))
    listed = {o["Key"]: (o["Size"], o["StorageClass"]) for o in c.list_objects_v2(Bucket="buc")["Contents"]}
    want(listed, {"o%d" % n: (n, "STANDARD") for n in SIZES})


def test_keys(t):
    """Keys are opaque: spaces, plus, percent, unicode, slashes, dots inside names."""
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    keys = ["a", "a/", "a/b", "a//buc", "/lead", "a b", "a+b", "a%20b", "a%b", "ü", "日本/語", "x" * 1024, "a&b<c>\"d'", "~t", "a?b=c",
            "a#b", "a\\b", "a:b;c,d", "....", "a..b", ".hidden", "\U0001f600"]
    for k in keys:
        with t.case("key %r" % k[:30]):
            c.put_object(Bucket="buc", Key=k, Body=k.encode())
            want(c.get_object(Bucket="buc", Key=k)["Body"].read(), k.encode())
    with t.case("listing in byte order"):
        want([o["Key"] for o in c.list_objects_v2(Bucket="buc")["Contents"]], sorted(keys, key=lambda k: k.encode()))
    with t.case("delete each"):
        for k in keys:
            c.delete_object(Bucket="buc", Key=k)
        want(c.list_objects_v2(Bucket="buc")["KeyCount"], 0)


def test_ranges(t):
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    n = (8 << 20) + 70_000
    data = t.body(n, "r")
    c.put_object(Bucket="buc", Key="o", Body=data)
    table = [("bytes=0-0", 0, 0), ("bytes=0-65535", 0, 65535), ("bytes=65535-65536", 65535, 65536), ("bytes=65530-131080", 65530, 131080),
             ("bytes=%d-%d" % ((8 << 20) - 5, (8 << 20) + 5), (8 << 20) - 5, (8 << 20) + 5), ("bytes=%d-" % (n - 1), n - 1, n - 1),
             ("bytes=-1", n - 1, n - 1), ("bytes=-100000", n - 100000, n - 1), ("bytes=5-%d" % (10 * n), 5, n - 1), ("bytes=-%d" % (2 * n), 0, n - 1)]
    for text, a, b in table:
        with t.case("range " + text):
            r = raw.get("buc", "o", [("range", text)])
            want((r.status, r.header("content-range"), r.header("content-length")), (206, "bytes %d-%d/%d" % (a, b, n), str(b - a + 1)))
            assert r.body == data[a:b + 1]
    for text in ("bytes=%d-" % n, "bytes=%d-%d" % (n, n + 5), "bytes=-0"):
        with t.case("unsatisfiable " + text):
            r = raw.get("buc", "o", [("range", text)])
            want((r.status, r.code), (416, "InvalidRange"))
    for text in ("bytes=0-1,5-6", "bytes=5-2", "bytes=x-y", "bytes=", "lines=0-1", "garbage"):
        with t.case("ignored as AWS does: " + text):
            for more in ({}, {"unsigned": [("range", text)]}):
                r = raw.call("GET", "/buc/o", (), [] if more else [("range", text)], **more)
                want((r.status, r.header("content-range")), (200, None))
                assert r.body == data
            r = http(s.addr["s3"], "GET", raw.presign("GET", "/buc/o"), [("range", text)], tls=s.tls)
            want((r.status, len(r.body)), (200, n))
            want(c.head_object(Bucket="buc", Key="o", Range=text)["ContentLength"], n)
    with t.case("an ignored range that was changed after it was signed"):
        sent = raw.build("GET", "/buc/o", headers=[("range", "bytes=0-1,5-6")]).replace(b"bytes=0-1,5-6", b"bytes=0-1,5-7")
        w = Wire(s.addr["s3"], s.tls)
        w.send(sent)
        want(w.read().code, "SignatureDoesNotMatch")
        w.close()
    with t.case("head with a range"):
        r = raw.head("buc", "o", [("range", "bytes=1-2")])
        want((r.status, r.header("content-length")), (206, "2"))
    with t.case("range of an empty object"):
        c.put_object(Bucket="buc", Key="e", Body=b"")
        want(raw.get("buc", "e", [("range", "bytes=0-")]).status, 416)
    with t.case("no checksum on a part of the bytes"):
        r = raw.get("buc", "o", [("range", "bytes=0-9"), ("x-amz-checksum-mode", "ENABLED")])
        assert not any(k.startswith("x-amz-checksum-crc") for k in r.headers), r.headers


def test_headers(t):
    """Stored headers come back; response-* overrides; system headers."""
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    sent = dict(CacheControl="max-age=5", ContentDisposition='attachment; filename="x y"', ContentEncoding="gzip", ContentLanguage="de",
                ContentType="text/html; charset=utf-8")
    c.put_object(Bucket="buc", Key="o", Body=b"abc", **sent, Expires="Wed, 21 Oct 2065 07:28:00 GMT")
    with t.case("stored headers"):
        g = c.get_object(Bucket="buc", Key="o")
        want({k: g[k] for k in sent}, sent)
        want(g["ResponseMetadata"]["HTTPHeaders"]["expires"], "Wed, 21 Oct 2065 07:28:00 GMT")
    with t.case("overrides"):
        g = c.get_object(Bucket="buc", Key="o", ResponseContentType="a/b", ResponseCacheControl="no-store", ResponseContentDisposition="inline",
                         ResponseContentEncoding="identity", ResponseContentLanguage="fr")
        want((g["ContentType"], g["CacheControl"], g["ContentDisposition"], g["ContentEncoding"], g["ContentLanguage"]),
             ("a/b", "no-store", "inline", "identity", "fr"))
    with t.case("request id on every answer, never the caller's"):
        for r in (raw.get("buc", "o", [("x-amz-request-id", "mine")]), raw.get("buc", "none"), http(s.addr["s3"], "GET", "/buc/o", tls=s.tls)):
            assert r.header("x-amz-request-id") not in (None, "", "mine")
        r = raw.get("buc", "none")
        want(re.search(rb"<RequestId>(.*?)<", r.body).group(1).decode(), r.header("x-amz-request-id"))
    with t.case("aws-chunked is not stored"):
        raw.chunked("PUT", "/buc/ch", [b"hello"], headers=[("x-amz-meta-a", "1")])
        r = raw.get("buc", "ch")
        want((r.body, r.header("content-encoding")), (b"hello", None))
    with t.case("a type when none is given"):
        raw.put("buc", "plain", b"x")
        want(raw.head("buc", "plain").header("content-type"), "binary/octet-stream")
    with t.case("last-modified and date"):
        r = raw.head("buc", "o")
        assert r.header("last-modified").endswith("GMT") and r.header("date") is not None


def test_copy(t):
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    data = t.body((8 << 20) + 77, "c")
    c.put_object(Bucket="buc", Key="src ü+%", Body=data, ContentType="a/b", Metadata={"k": "v"})
    with t.case("copy keeps metadata"):
        r = c.copy_object(Bucket="buc", Key="dst", CopySource={"Bucket": "buc", "Key": "src ü+%"})
        g = c.get_object(Bucket="buc", Key="dst")
        assert g["Body"].read() == data
        want((r["CopyObjectResult"]["ETag"], g["ContentType"], g["Metadata"]), (g["ETag"], "a/b", {"k": "v"}))
    with t.case("replace metadata on itself"):
        c.copy_object(Bucket="buc", Key="dst", CopySource="buc/dst", MetadataDirective="REPLACE", Metadata={"m": "2"}, ContentType="c/d")
        h = c.head_object(Bucket="buc", Key="dst")
        want((h["Metadata"], h["ContentType"], h["ContentLength"]), ({"m": "2"}, "c/d", len(data)))
    with t.case("source gone, copy stays"):
        c.delete_object(Bucket="buc", Key="src ü+%")
        assert c.get_object(Bucket="buc", Key="dst")["Body"].read() == data
    with t.case("copy onto itself without a change"):
        want(error(c.copy_object, Bucket="buc", Key="dst", CopySource="buc/dst"), ("InvalidRequest", 400))
    with t.case("missing source"):
        want(error(c.copy_object, Bucket="buc", Key="x", CopySource="buc/none"), ("NoSuchKey", 404))
        want(error(c.copy_object, Bucket="buc", Key="x", CopySource="nob/none"), ("NoSuchBucket", 404))


def test_delete(t):
    s = t.server()
    c = t.boto(s)
    c.create_bucket(Bucket="buc")
    with t.case("missing key"):
        want(c.delete_object(Bucket="buc", Key="none")["ResponseMetadata"]["HTTPStatusCode"], 204)
    for n in range(1000):
        if n % 4 == 0:
            c.put_object(Bucket="buc", Key="d%04d" % n, Body=b"x")
    with t.case("1000 keys at once, most of them missing"):
        r = c.delete_objects(Bucket="buc", Delete={"Objects": [{"Key": "d%04d" % n} for n in range(1000)]})
        want((len(r["Deleted"]), r.get("Errors")), (1000, None))
        want(c.list_objects_v2(Bucket="buc")["KeyCount"], 0)
    with t.case("control characters, by reference and by CDATA"):
        raw = t.s3(s)
        names = {"a&#x1;b": "a\x01b", "&#31;": "\x1f", "c&#xd;": "c\r", "&#x1F600;": "\U0001f600", "<![CDATA[d&<]]>": "d&<"}
        for key in names.values():
            want(raw.put("buc", key, b"x").status, 200)
        doc = ("<Delete>%s</Delete>" % "".join("<Object><Key>%s</Key></Object>" % n for n in names)).encode()
        md5 = base64.b64encode(hashlib.md5(doc).digest()).decode()
        r = raw.call("POST", "/buc", [("delete", "")], [("content-md5", md5)], doc)
        want((r.status, r.body.count(b"<Deleted>")), (200, len(names)))
        want(c.list_objects_v2(Bucket="buc")["KeyCount"], 0)
    with t.case("quiet"):
        c.put_object(Bucket="buc", Key="q", Body=b"x")
        r = c.delete_objects(Bucket="buc", Delete={"Objects": [{"Key": "q"}], "Quiet": True})
        want((r.get("Deleted"), r.get("Errors")), (None, None))
    with t.case("1001 keys"):
        want(error(c.delete_objects, Bucket="buc", Delete={"Objects": [{"Key": "k%d" % n} for n in range(1001)]}), ("MalformedXML", 400))


def test_buckets(t):
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    names = ["bucket-%03d" % n for n in range(25)]
    for n in names:
        c.create_bucket(Bucket=n)
    with t.case("list"):
        r = c.list_buckets()
        want([b["Name"] for b in r["Buckets"]], names)
        assert r["Owner"]["ID"]
    with t.case("pages"):
        got, kw = [], {}
        while True:
            r = c.list_buckets(MaxBuckets=7, **kw)
            assert len(r["Buckets"]) <= 7
            got += [b["Name"] for b in r["Buckets"]]
            if "ContinuationToken" not in r:
                break
            kw = {"ContinuationToken": r["ContinuationToken"]}
        want(got, names)
    with t.case("prefix"):
        want([b["Name"] for b in c.list_buckets(Prefix="bucket-01")["Buckets"]], names[10:20])
    with t.case("again"):
        want(error(c.create_bucket, Bucket=names[0]), ("BucketAlreadyOwnedByYou", 409))
    with t.case("head"):
        want(c.head_bucket(Bucket=names[0])["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"], "us-east-1")
        want(error(c.head_bucket, Bucket="none-here")[1], 404)
        for other in ({"secret": "wrong"}, {"access": "AKNOBODY"}):
            r = raw.call("HEAD", "/" + names[0], **other)
            want((r.status, r.header("x-amz-bucket-region")), (403, "us-east-1"))
    with t.case("location"):
        want(c.get_bucket_location(Bucket=names[0])["LocationConstraint"], None)
    with t.case("not empty"):
        c.put_object(Bucket=names[0], Key="k", Body=b"")
        want(error(c.delete_bucket, Bucket=names[0]), ("BucketNotEmpty", 409))
        c.delete_object(Bucket=names[0], Key="k")
        c.delete_bucket(Bucket=names[0])
        want(error(c.list_objects_v2, Bucket=names[0]), ("NoSuchBucket", 404))
    with t.case("the name is free at once and comes back empty"):
        c.create_bucket(Bucket=names[0])
        want(c.list_objects_v2(Bucket=names[0])["KeyCount"], 0)
    for bad in ("ab", "A-Big", "a..b", "1.2.3.4", "-x-", "x" * 64, "a_b"):
        with t.case("name %r" % bad[:12]):
            r = raw.call("PUT", "/" + bad)
            want((r.status, r.code), (400, "InvalidBucketName"))


def test_presigned(t):
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    with t.case("put and get"):
        path = raw.presign("PUT", "/buc/p%20q")
        want(http(s.addr["s3"], "PUT", path, body=b"data").status, 200)
        r = http(s.addr["s3"], "GET", raw.presign("GET", "/buc/p%20q", query=[("response-content-type", "x/y")]))
        want((r.status, r.body, r.header("content-type")), (200, b"data", "x/y"))
    with t.case("boto3's own"):
        url = c.generate_presigned_url("get_object", {"Bucket": "buc", "Key": "p q"}, ExpiresIn=60)
        want(http(s.addr["s3"], "GET", url[len(s.endpoint):]).body, b"data")
    with t.case("other method"):
        want(http(s.addr["s3"], "DELETE", raw.presign("GET", "/buc/p%20q")).code, "SignatureDoesNotMatch")
    with t.case("expired"):
        r = http(s.addr["s3"], "GET", raw.presign("GET", "/buc/p%20q", expires=1, when=raw.now(-60)))
        want((r.status, r.code), (403, "AccessDenied"))
    with t.case("longer than a week"):
        want(http(s.addr["s3"], "GET", raw.presign("GET", "/buc/p%20q", expires=604801)).code, "AuthorizationQueryParametersError")
    with t.case("unsigned x-amz header"):
        r = http(s.addr["s3"], "PUT", raw.presign("PUT", "/buc/z"), [("x-amz-copy-source", "/buc/p q")])
        want(r.status, 403)
        want(raw.head("buc", "z").status, 404)


def test_hosts(t):
    """Virtual-host style for every domain of the flag, path style for every other host."""
    s = t.server("-s3.domainName=s3.test,other.test")
    raw = t.s3(s)

    def call(host, method, target, query=(), body=b""):
        raw.addr = host
        w = Wire(s.addr["s3"], s.tls)
        w.send(raw.build(method, target, query, (), body))
        r = w.read(method)
        w.close()
        return r
    with t.case("a bucket by its host"):
        want(call("buc.s3.test", "PUT", "/").status, 200)
        want(call("buc.s3.test:8333", "PUT", "/k%20k", body=b"data").status, 200)
    for host, target in (("buc.s3.test", "/k%20k"), ("buc.Other.test", "/k%20k"), ("s3.test", "/buc/k%20k"), (s.addr["s3"], "/buc/k%20k"),
                         ("buc.elsewhere.test", "/buc/k%20k")):
        with t.case("%s %s" % (host, target)):
            want(call(host, "GET", target).body, b"data")
    with t.case("a listing"):
        assert b"<Key>k k</Key>" in call("buc.other.test", "GET", "/", [("list-type", "2")]).body
    with t.case("an error names the bucket"):
        assert b"<Resource>/buc/none</Resource>" in call("buc.s3.test", "GET", "/none").body


def test_users(t):
    """Several identities, anonymous, reload of a good and a broken file."""
    import json
    import os
    import signal

    from harness.context import wait_for
    from harness.sigv4 import S3
    path = os.path.join(t.dir, "users.json")

    def write(extra):
        doc = {"identities": [
            {"name": "root", "credentials": [{"accessKey": "AKROOT", "secretKey": "secretroot"}], "actions": ["Admin"],
             "account": {"id": "acct-1", "displayName": "one", "emailAddress": "a@example.com"}},
            {"name": "reader", "credentials": [{"accessKey": "AKREAD", "secretKey": "secretread"}], "actions": ["Read:buc/pub*", "List:buc"]},
            {"name": "anonymous", "actions": ["Read:buc/open/*"]}] + extra, "accounts": []}
        with open(path, "w") as f:
            json.dump(doc, f)
    write([])
    s = t.server("-s3.config=" + path)
    root, reader = S3(s.addr["s3"], ("AKROOT", "secretroot")), S3(s.addr["s3"], ("AKREAD", "secretread"))
    want(root.call("PUT", "/buc").status, 200)
    for k in ("pub1", "priv", "open/x"):
        want(root.put("buc", k, k.encode()).status, 200)
    with t.case("owner is the account"):
        assert b"<ID>acct-1</ID>" in root.call("GET", "/").body
    with t.case("allowed by prefix"):
        want(reader.get("buc", "pub1").status, 200)
        want((reader.get("buc", "priv").status, reader.put("buc", "pub1", b"").status, reader.delete("buc", "pub1").status), (403, 403, 403))
        want(reader.call("GET", "/buc", [("list-type", "2")]).status, 200)
        want(reader.call("PUT", "/ccc").status, 403)
    with t.case("anonymous"):
        want(http(s.addr["s3"], "GET", "/buc/open/x").body, b"open/x")
        want(http(s.addr["s3"], "GET", "/buc/priv").status, 403)
        want(http(s.addr["s3"], "PUT", "/buc/open/y", body=b"1").status, 403)
    with t.case("reload"):
        write([{"name": "new", "credentials": [{"accessKey": "AKNEW", "secretKey": "secretnew"}], "actions": ["Admin"]}])
        s.signal(signal.SIGHUP)
        new = S3(s.addr["s3"], ("AKNEW", "secretnew"))
        wait_for("the new user", lambda: new.get("buc", "priv").status == 200)
    with t.case("a broken file changes nothing and is named"):
        with open(path, "w") as f:
            f.write("{broken")
        before = len(s.log())
        s.signal(signal.SIGHUP)
        wait_for("a line in the log", lambda: "users.json" in s.log()[before:])
        want(new.get("buc", "priv").status, 200)
    with t.case("a broken file at start is an error"):
        s.stop()
        from harness.server import StartError
        try:
            s.start()
            raise AssertionError("started with a broken file")
        except StartError as e:
            assert "users.json" in str(e), e


def test_clock(t):
    raw = t.s3(t.server())
    with t.case("skewed clock"):
        want(raw.call("GET", "/", when=raw.now(-3600)).code, "RequestTimeTooSkewed")
    with t.case("a little skew is fine"):
        want(raw.call("GET", "/", when=raw.now(-300)).status, 200)


def test_md5(t):
    raw = t.s3(t.server())
    raw.call("PUT", "/buc")
    for good in (True, False):
        with t.case("content-md5 %s" % good):
            md5 = base64.b64encode(hashlib.md5(b"data" if good else b"x").digest()).decode()
            r = raw.put("buc", "o", b"data", [("content-md5", md5)], payload=UNSIGNED)
            want((r.status, r.code), (200, None) if good else (400, "BadDigest"))
