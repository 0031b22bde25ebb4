#!/usr/bin/env python3
"""Runs the compatibility tests against the real binary.

    compat-tests/run.py [--profile ci|full] [--only NAME]... [--skip NAME]... [--bin PATH] [--keep] [--list]

NAME is a suite (`crash`) or one test of it (`crash.kill9`). A test that needs root fails with a sentence without it,
unless it is skipped by name; the summary prints what was skipped. Ends with `N passed, N failed, N skipped`.
"""

import argparse
import importlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
SUITES = ["ops", "signals", "s3_objects", "s3_listing", "s3_conditions", "s3_multipart", "s3_checksums", "s3_unbuilt", "native", "badinput",
          "clients_aws", "clients_boto", "clients_curl", "clients_rclone", "atrest", "bitflip", "diskfaults", "crash", "powercut"]


class Run:
    """One run of the suites: where things are, and what was counted."""

    def __init__(self, args):
        self.full = args.profile == "full"
        self.venv = pathlib.Path(sys.prefix)
        self.dir = tempfile.mkdtemp(prefix="halofs-compat-", dir=os.environ.get("HALOFS_TEST_DIR"))
        self.counts, self.tls = {}, None
        self.binary = self.own_copy(pathlib.Path(args.bin))

    def own_copy(self, binary):
        """A copy of the binary and its library, so that a build that goes on meanwhile changes nothing here."""
        if not binary.is_file():
            raise SystemExit("no binary at %s: build it first (make build)" % binary)
        place = pathlib.Path(self.dir) / "bin"
        place.mkdir()
        for f in (binary, binary.with_name("librocksdb.so")):
            if f.exists():
                shutil.copy2(f, place / f.name)
        return place / binary.name


def tests_of(suite):
    """The suite's test functions in the order they are written."""
    module = importlib.import_module("suites." + suite)
    found = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and f.__module__ == module.__name__]
    return [(suite + "." + n[5:], f) for n, f in sorted(found, key=lambda x: x[1].__code__.co_firstlineno)]


def chosen(name, names):
    return any(name == n or name.startswith(n + ".") for n in names)


def one(run, name, function, keep):
    """Runs one test; returns its failure as text or None."""
    from harness.context import Context, NeedsRoot
    context, failure = Context(run, name), None
    try:
        function(context)
        if context.failures:
            failure = "%d cases failed: %s" % (len(context.failures), ", ".join(context.failures[:12]))
    except NeedsRoot as e:
        failure = str(e)
    except KeyboardInterrupt:
        context.close(False)
        raise
    except BaseException:
        failure = traceback.format_exc()
        for s in context.servers:
            log = s.log().strip().splitlines()[-12:]
            if log:
                failure += "\nserver log of %s:\n  %s" % (s.data, "\n  ".join(x[:300] for x in log))
    context.close(keep and failure is not None)
    return failure


def main():
    target = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/halofs/target"))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--profile", choices=["ci", "full"], default="ci")
    p.add_argument("--only", action="append", default=[])
    p.add_argument("--skip", action="append", default=[])
    p.add_argument("--bin", default=os.path.join(target, "release", "halofs"))
    p.add_argument("--keep", action="store_true", help="keep the files of failed tests")
    p.add_argument("--list", action="store_true")
    p.add_argument("--json", help="write the counts to this file")
    args = p.parse_args()
    args.skip = [s for x in args.skip for s in x.replace(",", " ").split()]
    sys.path.insert(0, str(HERE))
    sys.dont_write_bytecode = True
    everything = [t for s in SUITES for t in tests_of(s)]
    for n in args.only + args.skip:
        if not any(chosen(t, [n]) for t, _ in everything):
            raise SystemExit("no test is called %r; --list shows them" % n)
    tests = [t for t in everything if not args.only or chosen(t[0], args.only)]
    if args.list:
        print("\n".join(n for n, _ in tests))
        return 0
    run = Run(args)
    passed, failed, skipped = 0, [], []
    try:
        for name, function in tests:
            if chosen(name, args.skip):
                skipped.append(name)
                print("skip %s (named in the skip flag)" % name, flush=True)
                continue
            t = time.monotonic()
            failure = one(run, name, function, args.keep)
            took = time.monotonic() - t
            if failure is None:
                passed += 1
                print("ok   %s (%.1f s)" % (name, took), flush=True)
            else:
                failed.append(name)
                print("FAIL %s (%.1f s)\n  %s" % (name, took, failure.strip().replace("\n", "\n  ")), flush=True)
    finally:
        if not args.keep or not failed:
            shutil.rmtree(run.dir, ignore_errors=True)
        else:
            print("kept: " + run.dir)
    print("\ncompatibility tests, profile %s: %d tests; %s" % (
        args.profile, passed + len(failed), ", ".join("%s %d" % x for x in sorted(run.counts.items())) or "nothing counted"))
    if failed:
        print("failed: " + ", ".join(failed))
    if skipped:
        print("skipped by the skip flag: " + ", ".join(skipped))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"passed": passed, "failed": failed, "skipped": skipped, "counts": run.counts}, f)
    print("%d passed, %d failed, %d skipped" % (passed, len(failed), len(skipped)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
