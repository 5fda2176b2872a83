"""Which files outlive a container: lines of /proc/self/mountinfo as container engines make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.access.volumes import Volumes
from rotator.domain.errors import PermanentError

PODS = "/var/lib/kubelet/pods/0f-1/volumes"
MOUNTS = rf"""
100 90 0:50 / / ro,relatime - overlay overlay rw,lowerdir=/l
101 100 8:1 {PODS}/kubernetes.io~empty-dir/tmp /tmp rw,relatime - ext4 /dev/sda1 rw
102 100 0:51 / /run/secrets/keyturn ro,relatime - tmpfs tmpfs rw,size=8k
103 100 8:16 / /var/lib/rotator rw,relatime shared:7 - ext4 /dev/sdb rw
104 100 0:60 /exports/a /var/my\040data rw - nfs4 server:/exports rw
105 103 0:52 / /var/lib/rotator/hidden rw - tmpfs tmpfs rw
"""


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS.strip() + "\n", encoding="utf-8")
    return Volumes(file)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/var/lib/rotator/rotator.db", None),
        ("/var/my data/rotator.db", None),
        ("/var/lib/other/rotator.db", "the container's own"),
        ("/var/lib/rotatory/rotator.db", "the container's own"),
        ("/tmp/rotator.db", "emptyDir"),
        ("/run/secrets/keyturn/rotator.db", "in memory"),
        ("/var/lib/rotator/hidden/rotator.db", "in memory"),
    ],
)
def test_what_is_mounted_there_says_whether_it_is_lost(volumes: Volumes, path: str, why: str | None) -> None:
    told = volumes.why_lost(Path(path))
    assert (why is None and told is None) or (why is not None and why in str(told))


def test_this_machine_tells() -> None:
    Volumes().why_lost(Path(__file__))


def test_a_system_that_does_not_tell_is_no_bug(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="does not tell"):
        Volumes(tmp_path / "none")
