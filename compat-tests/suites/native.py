"""The native API: assign, lookup, upload, read, conditions, ranges, gzip, delete, status pages."""

import base64
import email.utils
import gzip
import hashlib
import json

from harness.records import flip, records, volumes
from harness.sigv4 import http

from .s3_objects import want


def crc32c(data):
    from awscrt import checksums
    return "%08x" % checksums.crc32c(data)


def assign(s, query=""):
    r = http(s.addr["main"], "GET", "/dir/assign" + query)
    assert r.status == 200, r
    return json.loads(r.body)


def multipart(name, data, kind=None, part_headers=(), field="file"):
    """(headers, body) of a one-file form."""
    head = 'Content-Disposition: form-data; name="%s"%s\r\n' % (field, '; filename="%s"' % name if name is not None else "")
    if kind:
        head += "Content-Type: %s\r\n" % kind
    for h in part_headers:
        head += "%s: %s\r\n" % h
    body = b"--BB\r\n" + head.encode() + b"\r\n" + data + b"\r\n--BB--\r\n"
    return [("Content-Type", "multipart/form-data; boundary=BB")], body


def up(s, fid, data=b"data", headers=(), method="PUT", query=""):
    return http(s.addr["volume"], method, "/" + fid + query, headers, data)


def get(s, fid, headers=(), method="GET", query=""):
    return http(s.addr["volume"], method, "/" + fid + query, headers)


def test_readme(t):
    """Assign, upload, look up, read, delete: the documented lines with the documented keys."""
    s = t.server()
    a = assign(s)
    with t.case("assign"):
        want(sorted(a), ["count", "fid", "publicUrl", "url"])
        want((a["count"], a["url"]), (1, s.addr["volume"]))
    with t.case("upload a form"):
        h, b = multipart("myphoto.jpg", b"\xff\xd8jpegish" * 50, "image/jpeg")
        r = up(s, a["fid"], b, h, "POST")
        want(r.status, 201)
        j = json.loads(r.body)
        want((j["name"], j["size"], j["eTag"]), ("myphoto.jpg", 450, crc32c(b"\xff\xd8jpegish" * 50)))
    with t.case("lookup"):
        r = http(s.addr["main"], "GET", "/dir/lookup?volumeId=" + a["fid"].split(",")[0])
        j = json.loads(r.body)
        want((sorted(j), sorted(j["locations"][0])), (["locations", "volumeId"], ["publicUrl", "url"]))
    with t.case("read"):
        r = get(s, a["fid"])
        want((r.status, r.body, r.header("content-type"), r.header("etag"), r.header("accept-ranges")),
             (200, b"\xff\xd8jpegish" * 50, "image/jpeg", '"%s"' % crc32c(b"\xff\xd8jpegish" * 50), "bytes"))
        assert 'filename="myphoto.jpg"' in r.header("content-disposition") and r.header("last-modified").endswith("GMT")
    with t.case("delete"):
        r = get(s, a["fid"], method="DELETE")
        want(r.status, 202)
        assert json.loads(r.body)["size"] > 0
        want(get(s, a["fid"]).status, 404)
        want(get(s, a["fid"], method="DELETE").status, 404)


def test_forms(t):
    """URL forms, body forms, deltas, overwrite."""
    s = t.server()
    fid = assign(s)["fid"]
    vid, rest = fid.split(",")
    for form in ("%s,%s" % (vid, rest), "%s,%s.jpg" % (vid, rest), "%s/%s" % (vid, rest), "%s/%s.jpg" % (vid, rest),
                 "%s/%s/any_name.jpg" % (vid, rest), "%s,%s/any_name.jpg" % (vid, rest), "%s,%s" % (vid, rest.upper())):
        with t.case("form /" + form.replace(rest, "K").replace(rest.upper(), "K")):
            data = form.encode()
            want(up(s, form, data).status in (201, 204), True)
            want((get(s, form).body, get(s, form, method="HEAD").header("content-length")), (data, str(len(data))))
    with t.case("same bytes again"):
        want(up(s, fid, b"same").status, 201)
        want(up(s, fid, b"same").status, 204)
    with t.case("overwrite"):
        want(up(s, fid, b"other").status, 201)
        want(get(s, fid).body, b"other")
    with t.case("wrong cookie"):
        bad = fid[:-8] + "%08x" % (int(fid[-8:], 16) ^ 1)
        want((up(s, bad, b"x").status, get(s, bad).status, get(s, bad, method="DELETE").status), (500, 404, 400))
        want(get(s, fid).body, b"other")
    with t.case("count and deltas"):
        a = assign(s, "?count=3")
        want(a["count"], 3)
        for i, f in enumerate((a["fid"], a["fid"] + "_1", a["fid"] + "_2")):
            want(up(s, f, b"delta%d" % i).status, 201)
        want([get(s, a["fid"] + d).body for d in ("", "_1", "_2")], [b"delta0", b"delta1", b"delta2"])
    with t.case("deltas without a count never meet another fid"):
        a, b = assign(s)["fid"], assign(s)["fid"]
        key = lambda f: (f.split(",")[0], int(f.split(",")[1][:-8], 16))
        assert key(a)[0] != key(b)[0] or abs(key(a)[1] - key(b)[1]) >= 256
    with t.case("empty file"):
        f = assign(s)["fid"]
        want(up(s, f, b"").status, 201)
        r = get(s, f)
        want((r.status, r.body, r.header("etag")), (200, b"", '"00000000"'))
        want(get(s, f[:-8] + "%08x" % (int(f[-8:], 16) ^ 1)).status, 404)
    with t.case("form data with chunked transfer"):
        f = assign(s)["fid"]
        h, b = multipart("a.bin", b"chunked body")
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(b[i:i + 7]), b[i:i + 7]) for i in range(0, len(b), 7)) + b"0\r\n\r\n"
        want(http(s.addr["volume"], "POST", "/" + f, h + [("Transfer-Encoding", "chunked")], pieces).status, 201)
        want(get(s, f).body, b"chunked body")
    with t.case("a form-encoded type is still a raw body"):
        f = assign(s)["fid"]
        want(up(s, f, b"a=1&b=2", [("Content-Type", "application/x-www-form-urlencoded")], "POST").status, 201)
        want(get(s, f).body, b"a=1&b=2")
    with t.case("post without a type"):
        f = assign(s)["fid"]
        want(up(s, f, b"raw", (), "POST").status, 201)
        want(get(s, f).body, b"raw")
    with t.case("pairs"):
        f = assign(s)["fid"]
        up(s, f, b"x", [("Seaweed-Color", "blue"), ("Halofs-Shape", "round")])
        r = get(s, f)
        want((r.header("color"), r.header("shape")), ("blue", "round"))
    with t.case("time given"):
        f = assign(s)["fid"]
        up(s, f, b"x", query="?ts=1000000000")
        want(get(s, f).header("last-modified"), email.utils.formatdate(1000000000, usegmt=True))
    with t.case("content-md5"):
        f = assign(s)["fid"]
        md5 = base64.b64encode(hashlib.md5(b"x").digest()).decode()
        want(up(s, f, b"y", [("Content-MD5", md5)]).status, 400)
        r = up(s, f, b"x", [("Content-MD5", md5)])
        want((r.status, r.header("content-md5")), (201, md5))


def test_reads(t):
    """Conditions and ranges."""
    s = t.server()
    fid, data = assign(s)["fid"], t.body(200_000, "n")
    up(s, fid, data, [("Content-Type", "application/zip")])
    r = get(s, fid)
    etag, when = r.header("etag"), r.header("last-modified")
    for h, status in (([("If-None-Match", etag)], 304), ([("If-None-Match", '"x", W/' + etag)], 304), ([("If-None-Match", "*")], 304), ([("If-None-Match", '"x"')], 200),
                      ([("If-Match", '"x"')], 412), ([("If-Match", etag)], 200), ([("If-Modified-Since", when)], 304),
                      ([("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT")], 412), ([("If-None-Match", '"x"'), ("If-Modified-Since", when)], 200)):
        with t.case("condition %s" % h):
            want(get(s, fid, h).status, status)
    n = len(data)
    for text, a, b in (("bytes=0-0", 0, 0), ("bytes=65530-65540", 65530, 65540), ("bytes=-5", n - 5, n - 1), ("bytes=100-", 100, n - 1), ("bytes=5-999999", 5, n - 1)):
        with t.case(text):
            r = get(s, fid, [("Range", text)])
            want((r.status, r.header("content-range")), (206, "bytes %d-%d/%d" % (a, b, n)))
            assert r.body == data[a:b + 1]
    with t.case("two ranges"):
        r = get(s, fid, [("Range", "bytes=0-9,100-109")])
        want(r.status, 206)
        assert r.header("content-type").startswith("multipart/byteranges; boundary=") and data[:10] in r.body and data[100:110] in r.body
        want(int(r.header("content-length")), len(r.body))
    for text, status in (("bytes=%d-" % n, 416), ("bytes=9-5", 200), ("lines=1-2", 200), ("bytes=0-%d,0-%d" % (n, n), 200)):
        with t.case("odd " + text):
            r = get(s, fid, [("Range", text)])
            assert r.status == status or (text == "bytes=9-5" and r.status == 416), r.status
            if r.status == 416:
                want(r.header("content-range"), "bytes */%d" % n)
            else:
                assert r.body == data
    with t.case("a range opens the segments that it touches and no others"):
        big = max((r for path in volumes(s.data).values() for r in records(path)), key=lambda r: r.length)
        at = big.offset + 88 + 2 * (65536 + 16) + 100
        flip(big.path, at, 0)
        for a, b, status in ((0, 99, 206), (65600, 65700, 206), (140000, 140100, 500), (n - 1000, n - 1, 206)):
            r = get(s, fid, [("Range", "bytes=%d-%d" % (a, b))])
            want((r.status, r.body), (status, data[a:b + 1] if status == 206 else b""))
        want(get(s, fid).status, 500)
        flip(big.path, at, 0)
        assert get(s, fid).body == data
    with t.case("if-range"):
        want(get(s, fid, [("Range", "bytes=0-1"), ("If-Range", '"x"')]).status, 200)
        want(get(s, fid, [("Range", "bytes=0-1"), ("If-Range", etag)]).status, 206)
    with t.case("origin and options"):
        want(get(s, fid, [("Origin", "http://x")]).header("access-control-allow-origin"), "*")
        assert http(s.addr["volume"], "OPTIONS", "/" + fid).status in (200, 204)
    with t.case("overrides and download"):
        r = get(s, fid, query="?response-content-type=a/b&dl=true")
        want(r.header("content-type"), "a/b")


def test_gzip(t):
    s = t.server()
    text = (b"The quick brown fox. " * 50_000)
    fid = assign(s)["fid"]
    want(up(s, fid, text, [("Content-Type", "text/plain")]).status, 201)
    with t.case("identity"):
        r = get(s, fid)
        assert r.body == text
        want((r.header("content-encoding"), r.header("etag")), (None, '"%s"' % crc32c(text)))
    with t.case("gzip"):
        r = get(s, fid, [("Accept-Encoding", "gzip")])
        assert gzip.decompress(r.body) == text and len(r.body) < len(text) // 2
        want((r.header("content-encoding"), r.header("etag")), ("gzip", '"%s-gzip"' % crc32c(text)))
        assert "accept-encoding" in r.header("vary").lower()
    with t.case("range is of the identity"):
        r = get(s, fid, [("Accept-Encoding", "gzip"), ("Range", "bytes=600000-600020")])
        want((r.status, r.body, r.header("content-encoding")), (206, text[600000:600021], None))
    with t.case("gzip;q=0"):
        want(get(s, fid, [("Accept-Encoding", "gzip;q=0")]).header("content-encoding"), None)
    with t.case("gzip'd body comes back inflated"):
        f = assign(s)["fid"]
        want(up(s, f, gzip.compress(text), [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]).status, 201)
        assert get(s, f).body == text
    words = b"words and words and more. " * 400
    for kind, name, zipped in ((None, None, True), ("text/plain", None, True), ("text/csv", "a.csv", True), ("text/markdown", "a.md", True),
                               ("application/xml", "a.xml", True), ("application/xhtml+xml", "a.xhtml", True), ("application/javascript", "a.mjs", True),
                               ("audio/wav", None, True), ("application/octet-stream", "a.txt", True), (None, "a.bmp", True), (None, "a.zip", False),
                               ("text/plain", "a.gz", False), ("image/png", None, False), ("video/mp4", None, False), ("application/zstd", None, False)):
        with t.case("gzip of %s %s" % (kind, name)):
            f = assign(s)["fid"]
            headers = [("Content-Type", kind)] if kind else []
            headers += [("Content-Disposition", 'inline; filename="%s"' % name)] if name else []
            want(up(s, f, words, headers).status, 201)
            r = get(s, f, [("Accept-Encoding", "gzip")])
            want((r.header("content-encoding"), r.header("vary")), ("gzip", "Accept-Encoding") if zipped else (None, None))
            assert (gzip.decompress(r.body) if zipped else r.body) == words
    with t.case("a gzip'd body may inflate to more than the bytes in flight"):
        small = gzip.compress(bytes(1 << 20)) * 150
        assert len(small) % 4096
        want(up(s, assign(s)["fid"], small, [("Content-Encoding", "gzip")]).status, 201)
    with t.case("bad gzip body"):
        want(up(s, assign(s)["fid"], b"not gzip", [("Content-Encoding", "gzip")]).status, 400)


def test_status(t):
    s = t.server()
    up(s, assign(s)["fid"])
    for where, path, needles in (("main", "/dir/status", ["Version", "Topology", "DataCenters", "Layouts"]), ("main", "/vol/status", ["Volumes", "Max", "Free"]),
                                 ("main", "/cluster/status", ["IsLeader", "Leader", "Peers"]), ("volume", "/status", ["DiskStatuses", "Volumes"])):
        with t.case(path):
            r = http(s.addr[where], "GET", path)
            want((r.status, r.header("content-type").split(";")[0]), (200, "application/json"))
            for n in needles:
                assert '"%s"' % n in r.body.decode(), n
            assert r.header("x-amz-request-id")
            assert b"\n  " in http(s.addr[where], "GET", path + "?pretty=y").body
    with t.case("a volume is shown alike by main and by its server"):
        mine = json.loads(http(s.addr["volume"], "GET", "/status").body)["Volumes"][0]
        of_main = json.loads(http(s.addr["main"], "GET", "/vol/status").body)["Volumes"]["DataCenters"]["DefaultDataCenter"]["DefaultRack"][s.addr["volume"]]
        theirs = next(v for v in of_main if v["Id"] == mine["Id"])
        want((sorted(mine), mine["ReplicaPlacement"], mine["Version"]), (sorted(theirs), theirs["ReplicaPlacement"], theirs["Version"]))
    for where in ("main", "volume"):
        with t.case(where + " healthz and metrics"):
            want(http(s.addr[where], "GET", "/healthz").status, 200)
            r = http(s.addr[where], "GET", "/metrics")
            want(r.status, 200)
            assert b"HaloFS" in r.body or b"halofs" in r.body
    with t.case("S3 metrics and health"):
        want((http(s.addr["s3"], "GET", "/-/healthz").status, http(s.addr["s3"], "GET", "/-/metrics").status), (200, 200))
    with t.case("leader is host:port"):
        want(json.loads(http(s.addr["main"], "GET", "/cluster/status").body)["Leader"], s.addr["main"])
    with t.case("not yet"):
        for q in ("?replication=001", "?ttl=3m"):
            r = http(s.addr["main"], "GET", "/dir/assign" + q)
            want(r.status, 406)
            assert "count" not in json.loads(r.body) and json.loads(r.body)["error"]
    with t.case("collections"):
        a = assign(s, "?collection=pictures")
        want(up(s, a["fid"], b"x", query="?collection=pictures").status, 201)
