"""boto3 and its transfer manager: every edge size, CRC64NVME through the CRT, a large multipart with 16 threads."""

import base64
import hashlib
import io
import os

from .s3_objects import want

MIB = 1 << 20
SIZES = [0, 1, 65535, 65536, 65537, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1]


def sha(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(4 * MIB):
            h.update(piece)
    return h.hexdigest()


def make(t, name, size):
    """A file that is never in memory as a whole; returns its path and SHA-256."""
    path, h, block = os.path.join(t.dir, name), hashlib.sha256(), t.body(MIB, name)
    with open(path, "wb") as f:
        for i in range(-(-size // MIB)):
            piece = (i.to_bytes(8, "little") + block[8:])[:size - i * MIB]
            h.update(piece)
            f.write(piece)
    return path, h.hexdigest()


def test_transfers(t):
    from boto3.s3.transfer import TransferConfig
    for transport in ("http", "tls"):
        s = t.server(tls=t.tls() if transport == "tls" else None)
        c = t.boto(s)
        c.create_bucket(Bucket="buc")
        for size in SIZES + [100 * MIB]:
            for algorithm in ("CRC64NVME", None, "CRC32C"):
                if size == 100 * MIB and algorithm == "CRC32C":
                    continue
                with t.case("%s %d bytes %s" % (transport, size, algorithm)):
                    path, digest = make(t, "f", size)
                    extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
                    c.upload_file(path, "buc", "k", ExtraArgs=extra)
                    c.download_file("buc", "k", path + ".back")
                    want(sha(path + ".back"), digest)
                    h = c.head_object(Bucket="buc", Key="k", ChecksumMode="ENABLED")
                    want(h["ContentLength"], size)
                    if algorithm == "CRC64NVME":
                        assert h["ChecksumCRC64NVME"] and h["ChecksumType"] == "FULL_OBJECT", h
                        from awscrt import checksums
                        crc = 0
                        with open(path, "rb") as f:
                            while piece := f.read(4 * MIB):
                                crc = checksums.crc64nvme(piece, crc)
                        want(h["ChecksumCRC64NVME"], base64.b64encode(crc.to_bytes(8, "big")).decode())
        big = 1024 if t.full else 256 if transport == "http" else 64
        with t.case("%s multipart of %d MiB with 16 threads" % (transport, big)):
            path, digest = make(t, "big", big * MIB)
            config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=16)
            c.upload_file(path, "buc", "big", Config=config, ExtraArgs={"ChecksumAlgorithm": "CRC64NVME"})
            c.download_file("buc", "big", path + ".back", Config=config)
            want(sha(path + ".back"), digest)
            want(c.head_object(Bucket="buc", Key="big")["ETag"].rsplit("-", 1)[1], '%d"' % (big // 8))
            os.unlink(path + ".back")
        with t.case(transport + " unseekable stream"):
            class Pipe(io.RawIOBase):
                left = 20 * MIB

                def readable(self):
                    return True

                def readinto(self, b):
                    n = min(len(b), self.left)
                    b[:n] = bytes(n)
                    self.left -= n
                    return n
            c.upload_fileobj(Pipe(), "buc", "pipe")
            want(c.head_object(Bucket="buc", Key="pipe")["ContentLength"], 20 * MIB)
        with t.case(transport + " emptying the bucket"):
            keys = [{"Key": o["Key"]} for o in c.list_objects_v2(Bucket="buc")["Contents"]]
            c.delete_objects(Bucket="buc", Delete={"Objects": keys})
            c.delete_bucket(Bucket="buc")
        s.stop()


def test_crt(t):
    """The CRT's own S3 client moves a file both ways."""
    try:
        from s3transfer.crt import BotocoreCRTCredentialsWrapper, BotocoreCRTRequestSerializer, CRTTransferManager, create_s3_crt_client
    except ImportError as e:
        raise AssertionError("boto3[crt] is not whole: %s" % e)
    import botocore.session
    from botocore.config import Config
    s = t.server()
    t.boto(s).create_bucket(Bucket="buc")
    key, secret = s.credentials()
    session = botocore.session.Session()
    session.set_credentials(key, secret)
    serializer = BotocoreCRTRequestSerializer(session, {"region_name": "us-east-1", "endpoint_url": s.endpoint, "config": Config(s3={"addressing_style": "path"})})
    client = create_s3_crt_client("us-east-1", num_threads=2, crt_credentials_provider=BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider(),
                                  use_ssl=False)
    for size in (0, 65537, 30 * MIB):
        with t.case("crt %d bytes" % size):
            path, digest = make(t, "crt", size)
            with CRTTransferManager(client, serializer) as m:
                m.upload(path, "buc", "crt").result()
                m.download("buc", "crt", path + ".back").result()
            want(sha(path + ".back"), digest)
