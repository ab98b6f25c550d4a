"""HDF5 made to harm: refused with a clear error, without allocating what it claims, without a crash."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.pipeline import feature_files as files
from tests.pipeline import hostile_values  # noqa: F401  (registers its own)
from tests.pipeline.hostile_features import HOSTILE, N

READ = """
import json, resource, sys
from pathlib import Path
from pipeline.features import CacheError, FeatureCache
from tests.pipeline import feature_files as files

size = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (size + (128 << 20),) * 2)
said = {}
for name in sys.argv[1:]:
    try:
        with FeatureCache(Path(name)) as cache:
            files.contents(cache)
            cache.verify()
        said[name] = "accepted"
    except CacheError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What reading each hostile file under a limit on the address space says, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = {}
    for name, (tamper, _) in HOSTILE.items():
        paths[str(files.edit(files.small(folder / f"{name}.h5", N), tamper))] = name
    paths[str(files.small(folder / "sound.h5", N))] = "sound"
    run = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, timeout=600)
    assert (run.returncode, run.stderr) == (0, ""), "the reader crashed"
    return {paths[path]: answer.replace(path, "FILE") for path, answer in json.loads(run.stdout).items()}


def test_the_untampered_file_is_accepted(answers):
    assert answers["sound"] == "accepted"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(answers, name):
    assert re.match(f"FILE: .*({HOSTILE[name][1]})", answers[name]), answers[name]
