"""ListObjects and ListObjectsV2 against a model: prefix, delimiter, pages, encoding, markers; multipart listings."""

import random
import urllib.parse

from .s3_objects import error, want

KEYS = sorted(["a", "a/", "a/1", "a/2", "a/b/1", "a/b/2", "a/c/3", "aa", "b/1", "b//1", "b/ü", "c+d", "c d", "c%d", "d-1", "d-2", "d/1",
               "e/x/y/z", "zz/\U0001f600", "日本/語"], key=lambda k: k.encode())


def model(keys, prefix="", delimiter="", after=""):
    """The (kind, name) entries of an unlimited listing, in order."""
    out, seen = [], set()
    for k in keys:
        if not k.startswith(prefix):
            continue
        cut = k.find(delimiter, len(prefix)) if delimiter else -1
        name = k[:cut + len(delimiter)] if cut >= 0 else k
        if cut >= 0:
            # A marker inside a prefix does not hide the keys of the prefix that come after it; the prefix itself does.
            if name in seen or k.encode() <= after.encode() or name == after:
                continue
            seen.add(name)
            out.append(("p", name))
        elif k.encode() > after.encode():
            out.append(("k", k))
    return out


def pages_v2(c, limit, **kw):
    out, token, calls = [], {}, 0
    while True:
        r = c.list_objects_v2(Bucket="buc", MaxKeys=limit, **kw, **token)
        entries = [("k", o["Key"]) for o in r.get("Contents", [])] + [("p", p["Prefix"]) for p in r.get("CommonPrefixes", [])]
        want(r["KeyCount"], len(entries))
        assert len(entries) <= limit
        assert entries or not r["IsTruncated"]
        out += sorted(entries, key=lambda e: e[1].encode())
        calls += 1
        assert calls < 500, "listing does not end"
        if not r["IsTruncated"]:
            return out
        token = {"ContinuationToken": r["NextContinuationToken"]}


def pages_v1(c, limit, **kw):
    out, marker = [], {}
    while True:
        r = c.list_objects(Bucket="buc", MaxKeys=limit, **kw, **marker)
        entries = [("k", o["Key"]) for o in r.get("Contents", [])] + [("p", p["Prefix"]) for p in r.get("CommonPrefixes", [])]
        entries.sort(key=lambda e: e[1].encode())
        out += entries
        if not r["IsTruncated"]:
            return out
        marker = {"Marker": r.get("NextMarker") or entries[-1][1]}


def test_pages(t):
    """Every prefix and delimiter at every page size gives what the model gives."""
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    for k in KEYS:
        c.put_object(Bucket="buc", Key=k, Body=b"x")
    for prefix in ("", "a", "a/", "a/b", "b/", "c", "none", "日"):
        for delimiter in ("", "/", "b/", "d"):
            with t.case("prefix %r delimiter %r" % (prefix, delimiter)):
                kw = {"Prefix": prefix, **({"Delimiter": delimiter} if delimiter else {})}
                expected = model(KEYS, prefix, delimiter)
                for limit in (1, 2, 3, 7, 1000):
                    want(pages_v2(c, limit, **kw), expected)
                    want(pages_v1(c, limit, **kw), expected)
    with t.case("start-after"):
        for after in ("", "a", "a/1", "a/b", "buc", "zzz"):
            want(pages_v2(c, 3, StartAfter=after), model(KEYS, after=after))
            want(pages_v2(c, 3, StartAfter=after, Delimiter="/"), model(KEYS, "", "/", after))
    with t.case("max-keys 0"):
        r = c.list_objects_v2(Bucket="buc", MaxKeys=0)
        want((r["KeyCount"], r["IsTruncated"]), (0, False))


def test_fields(t):
    s = t.server()
    c, raw = t.boto(s), t.s3(s)
    c.create_bucket(Bucket="buc")
    c.put_object(Bucket="buc", Key="k e+y%ü", Body=b"123")
    with t.case("owner only when asked"):
        assert "Owner" not in c.list_objects_v2(Bucket="buc")["Contents"][0]
        assert c.list_objects_v2(Bucket="buc", FetchOwner=True)["Contents"][0]["Owner"]["ID"]
        assert c.list_objects(Bucket="buc")["Contents"][0]["Owner"]["ID"]
    with t.case("encoding-type url"):
        text = raw.call("GET", "/buc", [("list-type", "2"), ("encoding-type", "url"), ("prefix", "k e+")]).body.decode()
        key = text[text.index("<Key>") + 5:text.index("</Key>")]
        assert key not in ("k e+y%ü",) and urllib.parse.unquote_plus(key) == "k e+y%ü", key
        assert "<EncodingType>url</EncodingType>" in text and "<Prefix>k e+</Prefix>" not in text
    with t.case("no encoding when not asked"):
        assert "<Key>k e+y%ü</Key>" in raw.call("GET", "/buc", [("list-type", "2")]).body.decode()
    for q, code in (([("list-type", "2"), ("max-keys", "-1")], "InvalidArgument"), ([("list-type", "2"), ("max-keys", "x")], "InvalidArgument"),
                    ([("list-type", "2"), ("continuation-token", "not a token")], "InvalidArgument"),
                    ([("list-type", "2"), ("encoding-type", "base7")], "InvalidArgument")):
        with t.case("bad %s" % q[-1][0]):
            want(raw.call("GET", "/buc", q).code, code)


def test_many(t):
    """Some thousand keys: pages of 1000, and a listing that goes on while keys come and go loses none that stay."""
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    n = 20_000 if t.full else 2_500
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda i: c.put_object(Bucket="buc", Key="%d/%06d" % (i % 10, i), Body=b""), range(n)))
    keys = sorted("%d/%06d" % (i % 10, i) for i in range(n))
    with t.case("all"):
        want([k for _, k in pages_v2(c, 1000)], keys)
    with t.case("delimiter"):
        want(pages_v2(c, 3, Delimiter="/"), [("p", "%d/" % i) for i in range(10)])
    with t.case("while keys are deleted and added"):
        gone, seen, token = set(random.Random(1).sample(keys, n // 5)), [], {}
        todo = iter(sorted(gone))
        while True:
            r = c.list_objects_v2(Bucket="buc", MaxKeys=200, **token)
            seen += [o["Key"] for o in r["Contents"]]
            if not r["IsTruncated"]:
                break
            token = {"ContinuationToken": r["NextContinuationToken"]}
            for _ in range(30):
                k = next(todo, None)
                if k:
                    c.delete_object(Bucket="buc", Key=k)
        assert seen == sorted(set(seen)) and set(keys) - gone <= set(seen)


def test_uploads(t):
    c = t.boto(t.server())
    c.create_bucket(Bucket="buc")
    ids = {}
    for k in ("u/1", "u/1", "u/2", "v", "w/x/1"):
        ids.setdefault(k, []).append(c.create_multipart_upload(Bucket="buc", Key=k)["UploadId"])
    with t.case("all"):
        r = c.list_multipart_uploads(Bucket="buc")
        want([u["Key"] for u in r["Uploads"]], ["u/1", "u/1", "u/2", "v", "w/x/1"])
        want({u["UploadId"] for u in r["Uploads"]}, {i for v in ids.values() for i in v})
    with t.case("delimiter"):
        r = c.list_multipart_uploads(Bucket="buc", Delimiter="/")
        want(([u["Key"] for u in r["Uploads"]], [p["Prefix"] for p in r["CommonPrefixes"]]), (["v"], ["u/", "w/"]))
    with t.case("pages"):
        got, kw = [], {}
        while True:
            r = c.list_multipart_uploads(Bucket="buc", MaxUploads=2, **kw)
            got += [u["UploadId"] for u in r["Uploads"]]
            if not r["IsTruncated"]:
                break
            kw = {"KeyMarker": r["NextKeyMarker"], "UploadIdMarker": r["NextUploadIdMarker"]}
        want(sorted(got), sorted(i for v in ids.values() for i in v))
    with t.case("parts, pages"):
        up = ids["v"][0]
        for n in (1, 3, 9, 10000):
            c.upload_part(Bucket="buc", Key="v", UploadId=up, PartNumber=n, Body=b"p%d" % n)
        got, kw = [], {}
        while True:
            r = c.list_parts(Bucket="buc", Key="v", UploadId=up, MaxParts=3, **kw)
            got += [(p["PartNumber"], p["Size"]) for p in r["Parts"]]
            if not r["IsTruncated"]:
                break
            kw = {"PartNumberMarker": r["NextPartNumberMarker"]}
        want(got, [(1, 2), (3, 2), (9, 2), (10000, 6)])
    with t.case("aborted ones are gone"):
        c.abort_multipart_upload(Bucket="buc", Key="v", UploadId=up)
        want(error(c.list_parts, Bucket="buc", Key="v", UploadId=up), ("NoSuchUpload", 404))
    with t.case("an open upload is no object"):
        want(c.list_objects_v2(Bucket="buc")["KeyCount"], 0)
