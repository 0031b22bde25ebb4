"""Multipart rules: order, sizes, ETags, repeats, copies of parts, reads by part number."""

import hashlib
import re

from .s3_objects import error, want

MIB = 1 << 20


def start(c, key="m", **kw):
    return c.create_multipart_upload(Bucket="buc", Key=key, **kw)["UploadId"]


def part(c, up, n, data, key="m"):
    return {"PartNumber": n, "ETag": c.upload_part(Bucket="buc", Key=key, UploadId=up, PartNumber=n, Body=data)["ETag"]}


def finish(c, up, parts, key="m", **kw):
    return c.complete_multipart_upload(Bucket="buc", Key=key, UploadId=up, MultipartUpload={"Parts": parts}, **kw)


def test_rules(t):
    s = t.server()
    c = t.boto(s)
    c.create_bucket(Bucket="buc")
    a, b = t.body(5 * MIB, "a"), t.body(5 * MIB + 1, "buc")
    up = start(c, ContentType="x/y", Metadata={"k": "v"})
    parts = [part(c, up, 2, a), part(c, up, 7, b), part(c, up, 9, b"tail")]
    with t.case("part etags are md5"):
        want(parts[0]["ETag"], '"%s"' % hashlib.md5(a).hexdigest())
    with t.case("wrong order"):
        want(error(finish, c, up, [parts[1], parts[0]]), ("InvalidPartOrder", 400))
    with t.case("unknown part"):
        want(error(finish, c, up, parts + [{"PartNumber": 10, "ETag": parts[0]["ETag"]}]), ("InvalidPart", 400))
    with t.case("wrong etag"):
        want(error(finish, c, up, [{"PartNumber": 2, "ETag": parts[1]["ETag"]}]), ("InvalidPart", 400))
    with t.case("no parts"):
        want(error(finish, c, up, [])[0], "MalformedXML")
    with t.case("wrong announced size"):
        want(error(finish, c, up, parts, MpuObjectSize=5)[1], 400)
    with t.case("the key still has no object"):
        want(error(c.head_object, Bucket="buc", Key="m")[1], 404)
    with t.case("complete"):
        r = finish(c, up, parts)
        digest = hashlib.md5(b"".join(hashlib.md5(x).digest() for x in (a, b, b"tail"))).hexdigest()
        want(r["ETag"], '"%s-3"' % digest)
        g = c.get_object(Bucket="buc", Key="m")
        assert g["Body"].read() == a + b + b"tail"
        want((g["ContentType"], g["Metadata"], g["ContentLength"]), ("x/y", {"k": "v"}, 10 * MIB + 5))
    with t.case("complete again gives the same"):
        want(finish(c, up, parts)["ETag"], '"%s-3"' % digest)
    with t.case("other parts or an abort afterwards"):
        want(error(c.upload_part, Bucket="buc", Key="m", UploadId=up, PartNumber=1, Body=b"x"), ("NoSuchUpload", 404))
    for n, piece in ((1, a), (2, b), (3, b"tail")):
        with t.case("part number %d" % n):
            g = c.get_object(Bucket="buc", Key="m", PartNumber=n)
            assert g["Body"].read() == piece
            want((g["PartsCount"], g["ResponseMetadata"]["HTTPStatusCode"]), (3, 206))
            h = c.head_object(Bucket="buc", Key="m", PartNumber=n)
            want((h["ContentLength"], h["PartsCount"]), (len(piece), 3))
    with t.case("part number too high"):
        want(error(c.get_object, Bucket="buc", Key="m", PartNumber=4), ("InvalidPartNumber", 416))
    with t.case("range over a part edge"):
        g = c.get_object(Bucket="buc", Key="m", Range="bytes=%d-%d" % (5 * MIB - 3, 5 * MIB + 2))
        want(g["Body"].read(), a[-3:] + b[:3])
    with t.case("overwrite a part"):
        up = start(c, "o")
        part(c, up, 1, b"old", "o")
        finish(c, up, [part(c, up, 1, b"new", "o")], "o")
        want(c.get_object(Bucket="buc", Key="o")["Body"].read(), b"new")
    with t.case("too small a part that is not the last"):
        up = start(c, "s")
        ps = [part(c, up, 1, b"x" * (5 * MIB - 1), "s"), part(c, up, 2, b"y", "s")]
        want(error(finish, c, up, ps, "s"), ("EntityTooSmall", 400))
    with t.case("only some of the uploaded parts"):
        finish(c, up, ps[1:], "s")
        want(c.get_object(Bucket="buc", Key="s")["Body"].read(), b"y")
    with t.case("abort"):
        up = start(c, "x")
        part(c, up, 1, b"1", "x")
        c.abort_multipart_upload(Bucket="buc", Key="x", UploadId=up)
        want(error(c.abort_multipart_upload, Bucket="buc", Key="x", UploadId=up), ("NoSuchUpload", 404))
        want(error(finish, c, up, [{"PartNumber": 1, "ETag": '"x"'}], "x"), ("NoSuchUpload", 404))
    with t.case("upload id of another key"):
        up = start(c, "y")
        want(error(c.upload_part, Bucket="buc", Key="z", UploadId=up, PartNumber=1, Body=b""), ("NoSuchUpload", 404))
    for n in (0, 10001):
        with t.case("part number %d" % n):
            want(error(c.upload_part, Bucket="buc", Key="y", UploadId=up, PartNumber=n, Body=b"x"), ("InvalidArgument", 400))
    with t.case("bucket with an open upload can be deleted or says why"):
        c.create_bucket(Bucket="open")
        c.create_multipart_upload(Bucket="open", Key="k")
        c.delete_bucket(Bucket="open")


def test_copy_parts(t):
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    data = t.body(12 * MIB, "s")
    c.put_object(Bucket="buc", Key="src", Body=data)
    up = start(c)
    with t.case("ranges of a source"):
        parts = []
        for n, (x, y) in enumerate([(0, 5 * MIB), (5 * MIB, 10 * MIB + 1), (10 * MIB + 1, 12 * MIB)], 1):
            r = c.upload_part_copy(Bucket="buc", Key="m", UploadId=up, PartNumber=n, CopySource="buc/src", CopySourceRange="bytes=%d-%d" % (x, y - 1))
            want(r["CopyPartResult"]["ETag"], '"%s"' % hashlib.md5(data[x:y]).hexdigest())
            parts.append({"PartNumber": n, "ETag": r["CopyPartResult"]["ETag"]})
        finish(c, up, parts)
        assert c.get_object(Bucket="buc", Key="m")["Body"].read() == data
    up = start(c, "n")
    with t.case("whole source"):
        r = c.upload_part_copy(Bucket="buc", Key="n", UploadId=up, PartNumber=1, CopySource="buc/src")["CopyPartResult"]
        finish(c, up, [{"PartNumber": 1, "ETag": r["ETag"]}], "n")
        assert c.get_object(Bucket="buc", Key="n")["Body"].read() == data
    up = start(c, "p")
    for text in ("bytes=0-%d" % (12 * MIB), "bytes=5-", "bytes=9-2", "0-5"):
        with t.case("range %s" % text):
            want(error(c.upload_part_copy, Bucket="buc", Key="p", UploadId=up, PartNumber=1, CopySource="buc/src", CopySourceRange=text)[1] in (400, 416), True)
    with t.case("source condition"):
        want(error(c.upload_part_copy, Bucket="buc", Key="p", UploadId=up, PartNumber=1, CopySource="buc/src", CopySourceIfMatch='"x"'),
             ("PreconditionFailed", 412))


def test_location(t):
    """A Complete answers the object's URL as its client reached it."""
    for tls in (None, t.tls()):
        c = t.boto(t.server(tls=tls))
        c.create_bucket(Bucket="buc")
        up = start(c, "a b")
        r = finish(c, up, [part(c, up, 1, b"x", "a b")], "a b")
        with t.case("https" if tls else "http"):
            want(r["Location"], c.meta.endpoint_url + "/buc/a%20b")


def test_chunking(t):
    """A part's ETag does not depend on how its bytes were framed; parts sent in any order and size come together."""
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    data = t.body(9 * MIB + 3, "z")
    up = start(c)
    etags = set()
    for pieces in (1, 3, 40):
        step = -(-len(data) // pieces)
        chunks = [data[i:i + step] for i in range(0, len(data), step)]
        if max(map(len, chunks)) <= 4 * MIB:
            r = raw.chunked("PUT", "/buc/m", chunks, query=[("partNumber", "1"), ("uploadId", up)])
        else:
            r = raw.call("PUT", "/buc/m", [("partNumber", "1"), ("uploadId", up)], (), data)
        want(r.status, 200)
        etags.add(r.header("etag"))
    with t.case("one etag"):
        want(etags, {'"%s"' % hashlib.md5(data).hexdigest()})
    with t.case("keep-alive answer is one document"):
        xml = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>" % etags.pop().encode()
        r = raw.call("POST", "/buc/m", [("uploadId", up)], (), xml)
        want((r.status, len(re.findall(rb"<CompleteMultipartUploadResult", r.body))), (200, 1))
