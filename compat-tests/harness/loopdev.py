"""A small file system of its own on a loop device, and a power cut for it. Needs root."""

import fcntl
import os
import struct
import subprocess
import time

EXT4_IOC_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
NO_LOG_FLUSH = 2


def sh(*cmd):
    env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    r = subprocess.run(cmd, capture_output=True, text=True, timeout=120, env=env)
    if r.returncode != 0:
        raise OSError("%s: %s" % (" ".join(cmd), r.stderr.strip()))
    return r.stdout.strip()


class LoopFs:
    """ext4 in a sparse file, mounted at `point`."""

    def __init__(self, directory, size):
        self.image, self.point, self.device = os.path.join(directory, "image"), os.path.join(directory, "mnt"), None
        os.makedirs(self.point, exist_ok=True)
        with open(self.image, "wb") as f:
            f.truncate(size)
        sh("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def mount(self):
        self.device = sh("losetup", "-f", "--show", self.image)
        sh("mount", "-t", "ext4", self.device, self.point)

    def power_cut(self):
        """From this moment nothing that was not synced will be found again; every write and sync fails."""
        d = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(d, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(d)

    def unmount(self):
        if self.device is None:
            return
        for left in range(50, -1, -1):
            try:
                sh("umount", self.point)
                break
            except OSError:
                if not os.path.ismount(self.point):
                    break
                if left == 0:
                    raise
                time.sleep(0.1)
        sh("losetup", "-d", self.device)
        self.device = None

    def destroy(self):
        self.unmount()
        os.unlink(self.image)
