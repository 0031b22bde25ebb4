"""Conditional reads and writes; racing writers with exactly one winner."""

import threading
import time

from .s3_objects import error, want


def test_reads(t):
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    etag = c.put_object(Bucket="buc", Key="o", Body=b"data")["ETag"]
    when = raw.head("buc", "o").header("last-modified")
    past, future = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    other = '"0123456789abcdef0123456789abcdef"'
    table = [([("if-match", etag)], 200), ([("if-match", etag.strip('"'))], 200), ([("if-match", "*")], 200), ([("if-match", other)], 412),
             ([("if-match", other + ", " + etag)], 200),
             ([("if-none-match", etag)], 304), ([("if-none-match", "*")], 304), ([("if-none-match", other)], 200),
             ([("if-none-match", other + "," + etag)], 304),
             ([("if-modified-since", past)], 200), ([("if-modified-since", when)], 304),
             ([("if-unmodified-since", past)], 412), ([("if-unmodified-since", when)], 200), ([("if-unmodified-since", future)], 200),
             # What is no date is no condition (RFC 9110 13.1.3, 13.1.4); the old forms of dates are.
             ([("if-modified-since", "tomorrow")], 200), ([("if-unmodified-since", "2001-01-01")], 200),
             ([("if-modified-since", "Monday, 01-Jan-01 00:00:00 GMT")], 200), ([("if-unmodified-since", "Mon Jan  1 00:00:00 2001")], 412),
             # The tag conditions win over the dates (RFC 9110 13.2.2).
             ([("if-match", etag), ("if-unmodified-since", past)], 200), ([("if-none-match", other), ("if-modified-since", when)], 200),
             ([("if-none-match", etag), ("if-modified-since", past)], 304)]
    for headers, status in table:
        for method in ("GET", "HEAD"):
            with t.case("%s %s" % (method, headers)):
                r = raw.call(method, "/buc/o", (), headers)
                want(r.status, status)
                if status == 304:
                    want((r.body, r.header("etag")), (b"", etag))
                if status == 412 and method == "GET":
                    want(r.code, "PreconditionFailed")
    with t.case("if-range"):
        want(raw.get("buc", "o", [("range", "bytes=0-0"), ("if-range", etag)]).status, 206)
        want(raw.get("buc", "o", [("range", "bytes=0-0"), ("if-range", other)]).status, 200)


def test_writes(t):
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    with t.case("create once"):
        c.put_object(Bucket="buc", Key="n", Body=b"1", IfNoneMatch="*")
        want(error(c.put_object, Bucket="buc", Key="n", Body=b"2", IfNoneMatch="*"), ("PreconditionFailed", 412))
        want(c.get_object(Bucket="buc", Key="n")["Body"].read(), b"1")
    with t.case("again after a delete"):
        c.delete_object(Bucket="buc", Key="n")
        c.put_object(Bucket="buc", Key="n", Body=b"3", IfNoneMatch="*")
    with t.case("compare and swap"):
        etag = c.head_object(Bucket="buc", Key="n")["ETag"]
        new = c.put_object(Bucket="buc", Key="n", Body=b"4", IfMatch=etag)["ETag"]
        want(error(c.put_object, Bucket="buc", Key="n", Body=b"5", IfMatch=etag), ("PreconditionFailed", 412))
        c.put_object(Bucket="buc", Key="n", Body=b"6", IfMatch=new)
    with t.case("if-match on a missing key"):
        want(error(c.put_object, Bucket="buc", Key="none", Body=b"", IfMatch=etag), ("NoSuchKey", 404))
    for how in ("IfNoneMatch", "IfMatch"):
        with t.case("complete with " + how):
            up = c.create_multipart_upload(Bucket="buc", Key="n")["UploadId"]
            p = c.upload_part(Bucket="buc", Key="n", UploadId=up, PartNumber=1, Body=b"mp")["ETag"]
            args = dict(Bucket="buc", UploadId=up, Key="n", MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": p}]})
            want(error(c.complete_multipart_upload, **args, **{how: "*" if how == "IfNoneMatch" else etag}), ("PreconditionFailed", 412))
            r = c.complete_multipart_upload(**args, **({} if how == "IfNoneMatch" else {"IfMatch": c.head_object(Bucket="buc", Key="n")["ETag"]}))
            assert r["ETag"].endswith('-1"')


def race(t, s, n, request):
    """n threads send at once; returns the statuses."""
    gate, out = threading.Barrier(n), [None] * n

    def one(i):
        c = t.s3(s)
        c.call("HEAD", "/buc")
        gate.wait()
        r = request(c, i)
        out[i] = (r.status, r.code)
        c.close()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    return out


def test_races(t):
    """32 writers with the same condition: one wins, and its bytes are there."""
    s = t.server()
    raw = t.s3(s)
    raw.call("PUT", "/buc")
    rounds = 20 if t.full else 6
    for r in range(rounds):
        with t.case("if-none-match, round %d" % r):
            got = race(t, s, 32, lambda c, i: c.put("buc", "new%d" % r, b"writer %d" % i, [("if-none-match", "*")]))
            winners = [i for i, (status, _) in enumerate(got) if status == 200]
            want(len(winners), 1)
            assert {x for x in got if x[0] != 200} <= {(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")}, got
            want(raw.get("buc", "new%d" % r).body, b"writer %d" % winners[0])
        with t.case("if-match, round %d" % r):
            etag = raw.head("buc", "new%d" % r).header("etag")
            got = race(t, s, 32, lambda c, i: c.put("buc", "new%d" % r, b"second %d" % i, [("if-match", etag)]))
            winners = [i for i, (status, _) in enumerate(got) if status == 200]
            want(len(winners), 1)
            want(raw.get("buc", "new%d" % r).body, b"second %d" % winners[0])


def test_counter(t):
    """Compare-and-swap increments from 8 threads lose none."""
    s = t.server()
    raw = t.s3(s)
    raw.call("PUT", "/buc")
    raw.put("buc", "n", b"0")
    each, total = 15, []

    def add(c, _):
        for _ in range(each):
            while True:
                g = c.get("buc", "n")
                r = c.put("buc", "n", b"%d" % (int(g.body) + 1), [("if-match", g.header("etag"))])
                if r.status == 200:
                    total.append(1)
                    break
                assert r.status in (409, 412), r
                time.sleep(0.001)
        return r
    race(t, s, 8, add)
    with t.case("counter"):
        want((raw.get("buc", "n").body, len(total)), (b"%d" % (8 * each), 8 * each))
