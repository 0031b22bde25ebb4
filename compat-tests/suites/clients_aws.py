"""The aws command line, version 1 (PyPI) and 2 (Debian): mb, cp, ls, sync, rm; http and TLS."""

import filecmp
import os
import re
import shutil

from .s3_objects import want


def versions(t):
    return (("v1", str(t.venv / "bin" / "aws")), ("v2", "/usr/bin/aws"))


def tree(t, root):
    """A folder with names and sizes that trip clients."""
    files = {"plain.txt": 5, "empty": 0, "dir/with space": 100, "dir/plus+sign": 1000, "dir/per%cent": 77, "dir/ünïcode/日本.txt": 5000, "big.bin": (9 << 20) + 1,
             "quote'd & <tag>": 12, "deep/a/b/c/d": 1}
    for name, size in files.items():
        p = os.path.join(root, name)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        with open(p, "wb") as f:
            f.write(t.body(size, name))
    return files


def same_trees(a, b):
    d = filecmp.dircmp(a, b)
    todo = [d]
    while todo:
        d = todo.pop()
        assert not d.left_only and not d.right_only and not d.funny_files, (d.left, d.left_only, d.right_only)
        _, differ, errors = filecmp.cmpfiles(d.left, d.right, d.common_files, shallow=False)
        assert not differ and not errors, (differ, errors)
        todo += d.subdirs.values()


def test_cli(t):
    """Both versions over both transports, with the profile file that the server wrote."""
    for transport in ("http", "tls"):
        s = t.server(tls=t.tls() if transport == "tls" else None)
        for version, aws in versions(t):
            label = "%s %s " % (version, transport)
            env = {"AWS_SHARED_CREDENTIALS_FILE": os.path.join(s.data, "credentials"), "AWS_CONFIG_FILE": os.path.join(t.dir, "none"), "AWS_EC2_METADATA_DISABLED": "true"}
            if s.tls:
                env["AWS_CA_BUNDLE"] = s.tls.ca

            def run(*cmd, check=True):
                return t.sh(aws, "--profile", "halofs", "--endpoint-url", s.endpoint, "--region", "us-east-1", *cmd, env=env, check=check)
            bucket = "s3://aws-%s" % version
            src, dst = os.path.join(t.dir, label.strip() + " src"), os.path.join(t.dir, label.strip() + " dst")
            files = tree(t, src)
            with t.case(label + "version"):
                want(re.match(r"aws-cli/(\d)", t.sh(aws, "--version", env=env).out).group(1), version[1])
            with t.case(label + "mb"):
                assert "make_bucket" in run("s3", "mb", bucket).out
                want(run("s3", "mb", bucket, check=False).returncode != 0, True)
                assert "aws-" + version in run("s3", "ls").out
            with t.case(label + "cp"):
                run("s3", "cp", os.path.join(src, "big.bin"), bucket + "/one/big.bin")
                run("s3", "cp", bucket + "/one/big.bin", os.path.join(t.dir, "big.back"))
                assert filecmp.cmp(os.path.join(src, "big.bin"), os.path.join(t.dir, "big.back"), shallow=False)
            with t.case(label + "cp from and to a pipe"):
                t.sh(aws, "--profile", "halofs", "--endpoint-url", s.endpoint, "s3", "cp", "-", bucket + "/one/pipe", env=env, stdin=b"piped")
                want(run("s3", "cp", bucket + "/one/pipe", "-").stdout, b"piped")
            with t.case(label + "cp inside the store"):
                run("s3", "cp", bucket + "/one/big.bin", bucket + "/two/copy.bin")
                assert str(files["big.bin"]) in run("s3", "ls", bucket + "/two/").out
            with t.case(label + "sync up"):
                out = run("s3", "sync", src, bucket + "/tree").out
                want(out.count("upload:"), len(files))
                want(run("s3", "sync", src, bucket + "/tree").out.strip(), "")
            with t.case(label + "ls"):
                out = run("s3", "ls", "--recursive", bucket + "/tree").out
                want(len(out.strip().splitlines()), len(files))
                for name, size in files.items():
                    assert re.search(r"\b%d tree/%s$" % (size, re.escape(name)), out, re.M), name
            with t.case(label + "sync down"):
                run("s3", "sync", bucket + "/tree", dst)
                same_trees(src, dst)
            with t.case(label + "sync with changes"):
                os.unlink(os.path.join(src, "plain.txt"))
                with open(os.path.join(src, "empty"), "wb") as f:
                    f.write(b"no longer")
                out = run("s3", "sync", "--delete", src, bucket + "/tree").out
                want((out.count("upload:"), out.count("delete:")), (1, 1))
            with t.case(label + "rm"):
                run("s3", "rm", bucket + "/one/pipe")
                run("s3", "rm", "--recursive", bucket)
                want(run("s3", "ls", "--recursive", bucket, check=False).out.strip(), "")
                run("s3", "rb", bucket)
            shutil.rmtree(src)
            shutil.rmtree(dst, ignore_errors=True)
        s.stop()
