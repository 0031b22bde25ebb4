"""rclone sync of a tree of 5,000 odd files, there and back; providers AWS and Other, no quirk flags; http and TLS.

With provider AWS over plain http rclone (1.68 to 1.75) uploads to no server at all: it wants a checksum in a trailer, which
its SDK sends over TLS only. That is asserted, and there the uploads alone go through provider Other.
"""

import glob
import os
import random
import re
import shutil

from .clients_aws import same_trees
from .s3_objects import want

MIB = 1 << 20
NAMES = ["plain", "with space", "plus+plus", "per%cent", "100%25", "ünïcødé", "日本語", "emoji\U0001f600", "quo'te", 'dou"ble', "semi;colon", "amp&ersand", "hash#", "quest?ion",
         "star*", "tilde~", "at@", "eq=ual", "comma,", "brack[et]", "brace{}", "dollar$", "UPPER", "trailing.", "-dash", "caret^", "pipe|", "less<more>", "back`tick", "col:on"]


def plant(t, root, count, budget):
    """`count` files of 0 B to 50 MiB, at most `budget` bytes together; returns the bytes."""
    rng, total = random.Random(5), 0
    big = [50 * MIB, 20 * MIB, 8 * MIB + 1, 8 * MIB, 8 * MIB - 1, 5 * MIB, 65536, 65537, 65535]
    for i in range(count):
        folder = os.path.join(root, "d%02d" % (i % 40), NAMES[i % len(NAMES)]) if i % 3 else root
        os.makedirs(folder, exist_ok=True)
        size = big[i] if i < len(big) else rng.choice([0, 1, 10, 100, 1000, 4096, 10_000, 30_000, 120_000 if budget < 400 * MIB else 400_000])
        if total + size > budget:
            size = 10
        total += size
        with open(os.path.join(folder, "%s-%04d" % (NAMES[(i * 7) % len(NAMES)], i)), "wb") as f:
            f.write(t.body(size, i))
    return total


def change(root):
    """Deletes, changes, adds and renames some files."""
    files = sorted(p for p in glob.glob(os.path.join(glob.escape(root), "**"), recursive=True) if os.path.isfile(p))
    for p in files[10:40]:
        os.unlink(p)
    for p in files[100:140]:
        with open(p, "ab") as f:
            f.write(b"changed")
    for n, p in enumerate(files[200:230]):
        os.rename(p, os.path.join(root, "renamed %d+%%" % n))
    for n in range(20):
        with open(os.path.join(root, "new %d" % n), "wb") as f:
            f.write(b"n" * n)


def test_sync(t):
    rclone = next(iter(glob.glob(str(t.venv / "bin" / "rclone"))), None)
    assert rclone, "rclone is not installed: scripts/setup.sh test"
    master = os.path.join(t.dir, "master")
    size = plant(t, master, 5000, (1500 if t.full else 290) * MIB)
    t.note("tree of 5000 files, %d MiB" % (size // MIB))
    for transport in ("http", "tls"):
        s = t.server(tls=t.tls() if transport == "tls" else None)
        key, secret = s.credentials()
        for provider in ("AWS", "Other"):
            label, src, back = "%s %s " % (transport, provider), os.path.join(t.dir, "src"), os.path.join(t.dir, "back")
            shutil.copytree(master, src, copy_function=os.link if not t.full else shutil.copy2)
            env = {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_H_TYPE": "s3", "RCLONE_CONFIG_H_PROVIDER": provider, "RCLONE_CONFIG_H_ENDPOINT": s.endpoint,
                   "RCLONE_CONFIG_H_ACCESS_KEY_ID": key, "RCLONE_CONFIG_H_SECRET_ACCESS_KEY": secret, "RCLONE_CONFIG_H_REGION": "us-east-1"}
            extra = ["--ca-cert", s.tls.ca] if s.tls else []

            refuses = transport == "http" and provider == "AWS"
            upload_env = {**env, "RCLONE_CONFIG_H_PROVIDER": "Other"} if refuses else env

            def run(*cmd, check=True, env=env):
                return t.sh(rclone, "--transfers", "16", "--checkers", "16", "--stats", "0", *extra, *cmd, env=env, check=check)

            def transferred(r):
                """Files that rclone says it copied."""
                return len(re.findall(r"INFO\s+: .*: (?:Multi-thread )?Copied \(", r.err))
            bucket = "h:tree-" + provider.lower()
            if refuses:
                with t.case(label + "rclone refuses to upload by itself"):
                    os.makedirs(os.path.join(t.dir, "one"), exist_ok=True)
                    with open(os.path.join(t.dir, "one", "file"), "w") as f:
                        f.write("x")
                    r = run("--retries", "1", "copy", os.path.join(t.dir, "one"), bucket + "-none", check=False)
                    assert "request stream is not seekable" in r.err, "it uploads now: test it like the others\n" + r.err
            with t.case(label + "sync up"):
                want(transferred(run("-v", "sync", src, bucket, env=upload_env)), 5000)
            with t.case(label + "check by downloading"):
                assert "0 differences found" in run("check", "--download", src, bucket).err
            with t.case(label + "second sync moves nothing"):
                r = run("-v", "sync", src, bucket)
                want((transferred(r), r.err.count("Deleted")), (0, 0))
            # The tree is made of hard links: a changed file must not change the master.
            if not t.full:
                unlink_shared(src)
            change(src)
            with t.case(label + "sync of changes"):
                r = run("-v", "sync", src, bucket, env=upload_env)
                want(transferred(r), 40 + 30 + 20)
                assert "0 differences found" in run("check", src, bucket).err
            with t.case(label + "sync back"):
                run("sync", bucket, back)
                same_trees(src, back)
            with t.case(label + "purge"):
                run("purge", bucket)
            shutil.rmtree(src)
            shutil.rmtree(back, ignore_errors=True)
        s.stop()


def unlink_shared(root):
    """Gives the files that `change` appends to an inode of their own."""
    files = sorted(p for p in glob.glob(os.path.join(glob.escape(root), "**"), recursive=True) if os.path.isfile(p))
    for p in files[100:140]:
        with open(p, "rb") as f:
            data = f.read()
        st = os.stat(p)
        os.unlink(p)
        with open(p, "wb") as f:
            f.write(data)
        os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns))
