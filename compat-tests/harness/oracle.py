"""What a store may show after a crash, worked out from every request that was sent.

Per key a history of operations: value (None for a delete), when it was sent, when its answer came (None: never
acknowledged). A value is admissible when no acknowledged operation began after that value's own operation ended:
the read must show the result of exactly one operation that was sent and not surely replaced. An operation that was
never acknowledged ends at the crash, for nothing runs on after it.
"""

import hashlib
import itertools
import threading
import time

ABSENT = "absent"


class Value:
    """One sent object: body, content type, metadata, and what a read must show of it."""

    __slots__ = ("id", "size", "etag", "sha", "meta", "crc")

    def __init__(self, ident, body, etag=None):
        self.id, self.size, self.sha = ident, len(body), hashlib.sha256(body).digest()
        self.etag = etag or hashlib.md5(body).hexdigest()
        self.meta = {"x-amz-meta-op": ident, "content-type": "application/x-op-" + ident}


class Op:
    """A sent operation."""

    __slots__ = ("value", "start", "end", "acked")

    def __init__(self, value):
        self.value, self.start, self.end, self.acked = value, time.monotonic(), None, False


class Oracle:
    """Thread-safe histories of many keys."""

    def __init__(self):
        self.lock = threading.Lock()
        self.history = {}
        self.dirty = set()
        self.ids = itertools.count(1)
        self.acked = 0

    def next_id(self):
        return "%d" % next(self.ids)

    def sent(self, key, value):
        op = Op(value)
        with self.lock:
            self.history.setdefault(key, [settled(ABSENT, 0.0)]).append(op)
            self.dirty.add(key)
        return op

    def ack(self, op):
        """The operation's success was read from the wire."""
        op.end = time.monotonic()
        op.acked = True
        with self.lock:
            self.acked += 1

    def refused(self, key, op):
        """The server answered that the operation did not happen (4xx)."""
        with self.lock:
            self.history[key].remove(op)

    def cut(self, began, done):
        """The power went between these two moments. An answer that came later than the first may stem from a sync that
        the cut caught half-way, so it promises nothing; but nothing that was sent after the second may be stored.
        Returns the values that were, wrongly, acknowledged without a disk."""
        wrong = []
        with self.lock:
            for key, ops in self.history.items():
                for op in ops:
                    if op.acked and op.end >= began:
                        if op.start > done and op.value is not ABSENT:
                            wrong.append("%s: put %s was sent %.4f s after the cut and acknowledged" % (key, op.value.id, op.start - done))
                        op.acked, op.end = False, time.monotonic()
        return wrong

    def crashed(self):
        """Every operation still open ended now."""
        now = time.monotonic()
        for ops in self.history.values():
            for op in ops:
                if op.end is None:
                    op.end = now

    def admissible(self, key, before=None):
        """The values that a read may show; `before`: one that began then, while operations went on."""
        with self.lock:
            return self._admissible(key, before)

    def _admissible(self, key, before):
        ops = self.history.get(key) or [settled(ABSENT, 0.0)]
        last = max((o.start for o in ops if o.acked and (before is None or o.end < before)), default=0.0)
        return [o.value for o in ops if o.end is None or o.end >= last]

    def observed(self, key, value):
        """A read showed this value: it is the key's one settled state."""
        self.history[key] = [settled(value)]
        self.dirty.discard(key)

    def keys(self):
        return list(self.history)

    def story(self, key):
        """The key's operations as text, times in seconds before now; for a failure's message."""
        now = time.monotonic()
        lines = ["%s sent %.4f ended %.4f%s" % (getattr(o.value, "id", o.value), o.start - now, (o.end or now) - now, " acked" if o.acked else "")
                 for o in self.history.get(key, []) if o.start]
        return "\n    ".join(lines[-14:])


def settled(value, at=None):
    op = Op(value)
    op.start = op.end = time.monotonic() if at is None else at
    op.acked = True
    return op
