"""Files of at most a megabyte that were made to cost hours or gigabytes: a value or one sentence, within 2 seconds of a
processor and 512 MB. Packed rows that are sound cost more: they are read up to fifty times the file."""

import json
import subprocess
import sys

import pytest
from builders import ROOT
from outside import READERS

SECONDS, MEGABYTES = 2, 512
COMMON = ["records, xz", "records, gz", "episodes, packed", "episodes", "recipe"]


def check(names):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "outside_costs.py"), *names],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) >= 4 * len(names)
    for name, kind, seconds, megabytes, said in found:
        assert seconds < SECONDS and megabytes < MEGABYTES, (name, kind, seconds, megabytes)
        assert "Traceback" not in said and "killed" not in said and "\n" not in said, (name, kind, said)
        if kind.startswith("packed") and name != "episodes, packed":
            assert "--read-limit" in said, (name, kind, said)


def test_the_common_readers():
    check(COMMON)


@pytest.mark.slow
def test_every_other_reader():
    check([name for name in READERS if name not in COMMON])
