"""Limits of control groups, on copies of the files that Linux shows."""

import pytest

from danlu.storage.available_memory import available_memory

GIB = 2**30
SYSTEM = 8 * GIB


def system(folder, lines):
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 16777216 kB\nMemAvailable: {SYSTEM // 1024} kB\n")
    (folder / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    (folder / "cgroup").mkdir()
    return folder / "proc", folder / "cgroup"


def group(path, version, limit, usage=0, cached=0):
    path.mkdir(parents=True, exist_ok=True)
    limits = {1: "memory.limit_in_bytes", 2: "memory.max"}
    usages = {1: "memory.usage_in_bytes", 2: "memory.current"}
    prefix = "total_" if version == 1 else ""
    (path / limits[version]).write_text(f"{limit}\n")
    (path / usages[version]).write_text(f"{usage}\n")
    (path / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file {cached}\n")


V2 = ["0::/jobs/one"]
V1 = ["5:cpu,cpuacct:/jobs/two", "4:hugetlb,memory:/jobs/one", "1:name=systemd:/", "0::/"]


@pytest.mark.parametrize(("version", "lines", "mount"), [(2, V2, ""), (1, V1, "memory")])
def test_the_smallest_remainder_of_a_group_and_its_ancestors_counts(tmp_path, version, lines, mount):
    proc, cgroups = system(tmp_path, lines)
    root = cgroups / mount
    group(root / "jobs/two", version, 1)  # another group
    assert available_memory(proc, cgroups) == SYSTEM
    group(root / "jobs/one", version, 6 * GIB, usage=3 * GIB, cached=1 * GIB)
    assert available_memory(proc, cgroups) == 4 * GIB
    group(root / "jobs", version, 20 * GIB, usage=18 * GIB)
    assert available_memory(proc, cgroups) == 2 * GIB
    group(root, version, 20 * GIB, usage=19 * GIB)
    assert available_memory(proc, cgroups) == 1 * GIB
    group(root, version, 20 * GIB, usage=21 * GIB)
    assert available_memory(proc, cgroups) == 0


@pytest.mark.parametrize(("version", "lines", "mount"), [(2, V2, ""), (1, V1, "memory")])
def test_a_container_that_sees_its_own_group_as_the_root(tmp_path, version, lines, mount):
    proc, cgroups = system(tmp_path, lines)
    group(cgroups / mount, version, 2 * GIB)
    assert available_memory(proc, cgroups) == 2 * GIB


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, 2**63 - 4096), (2, "garbled"), (1, "")])
def test_a_group_without_a_limit_leaves_what_the_system_has(tmp_path, version, limit):
    proc, cgroups = system(tmp_path, V2 if version == 2 else V1)
    group(cgroups / ("memory" if version == 1 else "") / "jobs/one", version, limit, usage=9 * GIB)
    assert available_memory(proc, cgroups) == SYSTEM


def test_files_that_are_absent_or_garbled_do_not_matter(tmp_path):
    proc, cgroups = system(tmp_path, ["garbled"])
    assert available_memory(proc, cgroups) == SYSTEM
    assert 0 < available_memory(tmp_path, tmp_path) < 2**50
