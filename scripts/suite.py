"""Runs every test and closes with one summary: tests, compatibility cases, faults injected, what was skipped.

A Rust test may add to the counters by printing a line `count: NAME N` (for example `count: crash images 120000`).
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class Totals:
    """What ran, over all steps."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.rust = 0
        self.counts, self.lines, self.trouble = {}, [], []

    def count(self, what, n):
        self.counts[what] = self.counts.get(what, 0) + n


def check(totals):
    """Format, lints, rules, docs: one test of the summary."""
    print("== checks", flush=True)
    t = time.monotonic()
    code = subprocess.call(["bash", str(HERE / "check.sh")], cwd=ROOT)
    totals.lines.append("checks (format, lints, rules, docs): %s, %.0f s" % ("ok" if code == 0 else "FAILED", time.monotonic() - t))
    if code == 0:
        totals.passed += 1
    else:
        totals.failed += 1
        totals.trouble.append("checks: `make check` shows them")


def rust(totals):
    """cargo test over the workspace. Output of passing tests is read for counters, that of failing ones is shown."""
    print("\n== Rust tests", flush=True)
    t, before = time.monotonic(), totals.failed
    log = tempfile.NamedTemporaryFile("w", prefix="halofs-rust-tests-", suffix=".log", delete=False)
    p = subprocess.Popen(["bash", str(HERE / "cargo.sh"), "test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"], cwd=ROOT,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    inside, ran = False, 0
    for line in p.stdout:
        log.write(line)
        result = re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", line)
        if result:
            a, b, c = map(int, result.groups())
            totals.passed, totals.failed, totals.skipped, ran = totals.passed + a, totals.failed + b, totals.skipped + c, ran + a + b
        counted = re.match(r"\s*count: (.+?) (\d+)\s*$", line)
        if counted:
            totals.count(counted.group(1), int(counted.group(2)))
        if re.match(r"\s+(Running|Doc-tests|Compiling halofs)|test .* FAILED|error(\[|:)|count: ", line) or inside:
            print(line, end="", flush=True)
        # cargo prints what failed between these two lines.
        inside = line.startswith("failures:") or (inside and not line.startswith("test result:"))
    code = p.wait()
    log.close()
    if code != 0 and totals.failed == before:
        totals.failed += 1
        with open(log.name) as f:
            print("".join(f.readlines()[-60:]))
    if code != 0:
        totals.trouble.append("Rust tests: whole output in " + log.name)
    else:
        os.unlink(log.name)
    totals.rust = ran
    totals.lines.append("Rust tests: %d, %.0f s" % (ran, time.monotonic() - t))


def compat(totals, full, skip):
    """Real clients against the real binary."""
    print("\n== compatibility tests", flush=True)
    t = time.monotonic()
    if subprocess.call(["bash", str(HERE / "cargo.sh"), "build", "--locked", "--workspace", "--bin", "halofs"], cwd=ROOT) != 0:
        totals.failed += 1
        totals.trouble.append("the binary does not build")
        return
    out = tempfile.mktemp(prefix="halofs-compat-", suffix=".json")
    subprocess.call([sys.executable, "-B", str(ROOT / "compat-tests" / "run.py"), "--profile", "full" if full else "ci", "--json", out] +
                    [x for s in skip for x in ("--skip", s)], cwd=ROOT)
    try:
        with open(out) as f:
            r = json.load(f)
        os.unlink(out)
    except OSError:
        totals.failed += 1
        totals.trouble.append("the compatibility runner ended early")
        return
    totals.passed += r["passed"]
    totals.failed += len(r["failed"])
    totals.skipped += len(r["skipped"])
    for what, n in r["counts"].items():
        totals.count(what, n)
    if r["failed"]:
        totals.trouble.append("compatibility: " + ", ".join(r["failed"]))
    if r["skipped"]:
        totals.lines.append("skipped by the skip flag: " + ", ".join(r["skipped"]))
    totals.lines.append("compatibility tests: %d, %.0f s" % (r["passed"] + len(r["failed"]), time.monotonic() - t))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--full", action="store_true", help="full sizes, as `make compat`")
    p.add_argument("--skip", action="append", default=[])
    args = p.parse_args()
    skip = [s for x in args.skip + [os.environ.get("SKIP", "")] for s in x.replace(",", " ").split()]
    totals, t = Totals(), time.monotonic()
    check(totals)
    rust(totals)
    compat(totals, args.full, skip)
    print("\n== summary")
    for line in totals.lines:
        print(line)
    print("compatibility cases: %d" % totals.counts.pop("cases", 0))
    print("faults injected: %d" % totals.counts.pop("faults", 0))
    for what, n in sorted(totals.counts.items()):
        print("%s: %d" % (what, n))
    for line in totals.trouble:
        print("FAILED " + line)
    print("time: %.0f s" % (time.monotonic() - t))
    print("%d passed, %d failed, %d skipped" % (totals.passed, totals.failed, totals.skipped))
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
