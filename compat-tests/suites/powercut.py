"""A power cut under load, on a file system of its own: what was acknowledged had been synced."""

import os
import random
import time

from harness.load import BUCKET, Load
from harness.loopdev import LoopFs


def test_ext4(t):
    """20 times: load, cut the power of the ext4 below, mount again, start, check."""
    t.need_root("it mounts a file system and cuts its power")
    cuts, seed = 20, int(os.environ.get("SEED", 7))
    fs = LoopFs(t.dir, 6 << 30)
    t.after(fs.destroy)
    rng, load = random.Random(seed), Load(seed)
    s = t.server(data=os.path.join(fs.point, "data"))
    t.after(s.kill)
    assert t.s3(s).call("PUT", "/" + BUCKET).status == 200
    for cut in range(1, cuts + 1):
        load.begin(s)
        time.sleep(rng.uniform(0.1, 1.5))
        before = time.monotonic()
        fs.power_cut()
        after = time.monotonic()
        t.count("faults")
        # The server lives on for a moment without a disk: it must not acknowledge anything now.
        time.sleep(rng.uniform(0.0, 0.3))
        s.kill()
        load.end()
        wrong = load.oracle.cut(before, after)
        assert not wrong, "\n".join(wrong[:20])
        fs.unmount()
        fs.mount()
        s.start()
        problems = load.verify(s, sample=1 << 20 if cut == cuts else 50)
        assert not problems, "after power cut %d (seed %d):\n%s" % (cut, seed, "\n".join(problems[:20]))
    t.note("power cut %d times: %d acknowledged writes, all there" % (cuts, load.oracle.acked))
    assert load.oracle.acked > cuts * 20, "the load did too little: %d writes" % load.oracle.acked
    s.stop()
