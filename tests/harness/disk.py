"""Disks that are slow, fail, are full or damaged, and a clock that somebody sets."""

import glob
import os
import pathlib
import random

from harness.process import run

HERE = pathlib.Path(__file__).resolve().parent


class BadDisk:
    """Below `under`, for a program that was started with env: slow and failing as set() says, while it runs."""

    def __init__(self, folder: pathlib.Path, under: pathlib.Path):
        self.switch, library = folder / "bad-disk", folder / "bad_disk.so"
        done = run(["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "bad_disk.c", "-ldl"])
        assert done.returncode == 0, done.stderr
        self.env = {"LD_PRELOAD": str(library), "BAD_DISK_UNDER": str(under), "BAD_DISK_SWITCH": str(self.switch)}
        self.set()

    def set(self, ms: int = 0, error: int = 0, reading: int = 0):
        """Each call takes ms; what writes fails with the errno `error`, what reads with `reading`."""
        fresh = self.switch.with_suffix(".new")
        fresh.write_text(f"{ms} {error} {reading}\n")
        fresh.rename(self.switch)


class SmallDisk:
    """A file system of so many bytes, in memory, mounted at path; root or sudo."""

    def __init__(self, path: pathlib.Path, size_bytes: int):
        self.path, self.size_bytes, self.mounted = path, size_bytes, False

    @staticmethod
    def _as_root(*argv):
        done = run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), *argv])
        assert done.returncode == 0, done.stderr

    def start(self) -> "SmallDisk":
        self.path.mkdir(parents=True)
        self._as_root("mount", "-t", "tmpfs", "-o", f"size={self.size_bytes},mode=0777", "weir-test", self.path)
        self.mounted = True
        return self

    def fill(self):
        """Takes the rest of it, to the last byte."""
        with open(self.path / "ballast", "ab", buffering=0) as ballast:
            for size in (65536, 1):
                try:
                    while ballast.write(b"x" * size):
                        pass
                except OSError:
                    pass

    def empty(self):
        (self.path / "ballast").unlink(missing_ok=True)

    def stop(self):
        if self.mounted:
            self._as_root("umount", "-l", self.path)
            self.mounted = False


class WallClock:
    """CLOCK_REALTIME of a program that was started with env; CLOCK_MONOTONIC stays true. set() while it runs."""

    def __init__(self, folder: pathlib.Path):
        found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        assert found, "no libfaketime: ./dev deps"
        self.file = folder / "faketime"
        self.set(0)
        self.env = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def set(self, seconds: int):
        """So far from the truth."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.file)


def flip(path: pathlib.Path, places: int, chance: random.Random, skip: int = 0):
    """Changes so many bytes of a file, anywhere behind the first `skip`."""
    data = bytearray(path.read_bytes())
    for _ in range(places):
        data[chance.randrange(skip, len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)
