"""Finds sealed records in a volume file without any key: the header is plain (docs/format)."""

import glob
import os
import re
import struct

HEADER, TAG, TRAILER, HEAD = 88, 16, 4, 8192


class Record:
    """Where one record lies, and what its header says."""

    __slots__ = ("path", "offset", "length", "flags", "key", "cookie", "plain_len")

    def __init__(self, path, offset, length, flags, key, cookie, plain_len):
        self.path, self.offset, self.length, self.flags = path, offset, length, flags
        self.key, self.cookie, self.plain_len = key, cookie, plain_len

    @property
    def tombstone(self):
        return bool(self.flags & 1)

    @property
    def mark(self):
        return bool(self.flags & 32)


def records(path):
    """Every record of a volume file in file order."""
    with open(path, "rb") as f:
        data = f.read()
    o = HEAD
    while o + HEADER <= len(data):
        if data[o:o + 4] != b"HND1":
            if not any(data[o:o + HEADER]):
                return
            raise ValueError("%s: no record at %d" % (path, o))
        flags, seg_log2 = data[o + 5], data[o + 6]
        key, cookie = struct.unpack_from("<QI", data, o + 8)
        plain_len = struct.unpack_from("<I", data, o + 24)[0]
        body = HEADER + plain_len + max(1, -(-plain_len // (1 << seg_log2))) * TAG
        length = body + (-(body + TRAILER) % 8) + TRAILER
        yield Record(path, o, length, flags, key, cookie, plain_len)
        o += length


def volumes(data):
    """The volume files of a data directory by id."""
    out = {}
    for p in glob.glob(os.path.join(glob.escape(data), "volumes", "**", "*.vol"), recursive=True):
        m = re.search(r"(\d+)\.vol$", p)
        if m:
            out[int(m.group(1))] = p
    return out


def flip(path, offset, bit):
    """Turns one bit of a file over."""
    with open(path, "r+b") as f:
        f.seek(offset)
        b = f.read(1)
        f.seek(offset)
        f.write(bytes([b[0] ^ (1 << bit)]))
        f.flush()
        os.fsync(f.fileno())
