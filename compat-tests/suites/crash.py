"""kill -9 at any moment of a running load: what was acknowledged is there, and nothing is there that was not sent."""

import os
import random
import time

from harness.load import BUCKET, Load


def test_kill9(t):
    """100 times: load, kill -9 at a random moment, start again with no other command, check. Some kills hit the restart."""
    cycles, seed = int(os.environ.get("CYCLES", 100)), 20261123
    rng, load = random.Random(seed), Load(seed, native_writers=int(os.environ.get("NATIVE", 2)))
    s = t.server()
    c = t.s3(s)
    assert c.call("PUT", "/" + BUCKET).status == 200
    started, ready, in_start = time.monotonic(), [], 0
    for cycle in range(1, cycles + 1):
        load.begin(s)
        time.sleep(rng.uniform(0.02, 1.0))
        s.kill()
        load.end()
        t.count("faults")
        if cycle % 4 == 0:
            s.spawn()
            time.sleep(rng.uniform(0.0, 0.2))
            s.kill()
            in_start += 1
            t.count("faults")
        s.start()
        ready.append(s.ready_seconds)
        problems = load.verify(s, sample=1 << 20 if cycle == cycles else 20)
        assert not problems, "after kill %d (seed %d):\n%s" % (cycle, seed, "\n".join(problems[:20]))
        if cycle % 10 == 0:
            t.note("kill -9: %d cycles, %d acknowledged writes, %.0f s, last start %.2f s" % (cycle, load.oracle.acked, time.monotonic() - started, s.ready_seconds))
    assert load.oracle.acked > cycles * 20, "the load did too little: %d writes" % load.oracle.acked
    t.note("kill -9 %d times under load and %d times while starting: %d acknowledged writes, %d reads while running, "
           "slowest start %.2f s" % (cycles, in_start, load.oracle.acked, load.reads, max(ready)))
    s.stop()
