"""curl: fids as the README writes them, presigned URLs, HTTP/2, TLS."""

import json
import os

from .s3_objects import want


def test_fids(t):
    s = t.server()
    photo = os.path.join(t.dir, "myphoto.jpg")
    data = t.body(43234, "photo")
    with open(photo, "wb") as f:
        f.write(data)
    with t.case("assign, upload, read, delete"):
        a = json.loads(t.sh("curl", "-sf", "http://%s/dir/assign" % s.addr["main"]).out)
        url = "http://%s/%s" % (a["url"], a["fid"])
        r = json.loads(t.sh("curl", "-sf", "-F", "file=@" + photo, url).out)
        want((r["name"], r["size"], len(r["eTag"])), ("myphoto.jpg", 43234, 8))
        j = json.loads(t.sh("curl", "-sf", "http://%s/dir/lookup?volumeId=%s" % (s.addr["main"], a["fid"].split(",")[0])).out)
        want(j["locations"][0]["url"], a["url"])
        assert t.sh("curl", "-sf", url).stdout == data
        assert t.sh("curl", "-sf", url + ".jpg").stdout == data
        want(t.sh("curl", "-sf", "-r", "10-19", url).stdout, data[10:20])
        t.sh("curl", "-sf", "-X", "DELETE", url)
        want(t.sh("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url).out, "404")
    with t.case("put and data-binary"):
        for flag in (("-T", photo), ("--data-binary", "@" + photo)):
            a = json.loads(t.sh("curl", "-sf", "http://%s/dir/assign" % s.addr["main"]).out)
            t.sh("curl", "-sf", *flag, "http://%s/%s" % (a["url"], a["fid"]))
            assert t.sh("curl", "-sf", "http://%s/%s" % (a["url"], a["fid"])).stdout == data
    with t.case("compressed"):
        text = os.path.join(t.dir, "t.txt")
        with open(text, "w") as f:
            f.write("again and again\n" * 5000)
        a = json.loads(t.sh("curl", "-sf", "http://%s/dir/assign" % s.addr["main"]).out)
        url = "http://%s/%s" % (a["url"], a["fid"])
        t.sh("curl", "-sf", "-F", "file=@" + text, url)
        want(t.sh("curl", "-sf", "--compressed", url).out, "again and again\n" * 5000)
        assert int(t.sh("curl", "-sf", "-H", "Accept-Encoding: gzip", "-o", "/dev/null", "-w", "%{size_download}", url).out) < 5000
    with t.case("etag and time"):
        head = t.sh("curl", "-sfI", url).out.lower()
        assert "etag:" in head and "last-modified:" in head and "accept-ranges: bytes" in head


def test_s3(t):
    """curl's own SigV4, presigned URLs, HTTP/1.1 and HTTP/2, plain and TLS."""
    for tls in (None, t.tls()):
        s = t.server(tls=tls)
        raw = t.s3(s)
        key, secret = s.credentials()
        ca = ["--cacert", tls.ca] if tls else []
        for version in ("--http1.1", "--http2" if tls else "--http2-prior-knowledge"):
            label = "%s %s " % ("tls" if tls else "http", version)
            with t.case(label + "presigned"):
                raw.call("PUT", "/buc")
                up = s.endpoint + raw.presign("PUT", "/buc/c%20url")
                r = t.sh("curl", "-sS", version, *ca, "-w", "%{http_code} %{http_version}", "-X", "PUT", "--data-binary", "over " + label, up)
                want(r.out.strip(), "200 " + ("2" if "2" in version else "1.1"))
                want(t.sh("curl", "-sSf", version, *ca, s.endpoint + raw.presign("GET", "/buc/c%20url")).out, "over " + label)
            with t.case(label + "expect 100-continue with a refused body"):
                big = os.path.join(t.dir, "big")
                with open(big, "wb") as f:
                    f.truncate(50 << 20)
                r = t.sh("curl", "-sS", version, *ca, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue", "-T", big, s.endpoint + "/buc/x", check=False)
                want(r.out.strip(), "403")
        with t.case("curl signs"):
            r = t.sh("curl", "-sS", *ca, "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", key + ":" + secret, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", s.endpoint + "/buc/?list-type=2")
            assert "<Key>c url</Key>" in r.out, r.out
        s.stop()
