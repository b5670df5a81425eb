"""The facts of ``danlu doctor`` in a made-up environment."""

import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from danlu.app.inspect import environment
from danlu.app.inspect.environment import doctor


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("/data/sets", "/data/sets"),
        ("", "none (DANLU_DATA is not set; some are included)"),
        (None, "none (DANLU_DATA is not set; some are included)"),
    ],
)
def test_the_data_folder_is_that_of_the_variable(monkeypatch, folder, text):
    if folder is None:
        monkeypatch.delenv("DANLU_DATA", raising=False)
    else:
        monkeypatch.setenv("DANLU_DATA", folder)
    assert doctor()["data folder"] == text


@pytest.mark.parametrize(
    ("installed", "text"),
    [
        ({"g++", "clang++"}, "/bin/g++"),
        ({"clang++"}, "/bin/clang++"),
        (set(), "none (needed for the setting compile on a CPU)"),
    ],
)
def test_the_compiler_is_the_first_that_is_installed(monkeypatch, installed, text):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in installed else None)
    assert doctor()["compiler"] == text


@pytest.mark.parametrize(("writable", "text"), [(True, "yes"), (False, "no; set out to another folder")])
def test_the_current_folder_is_writable_or_not(monkeypatch, writable, text):
    monkeypatch.setattr(os, "access", lambda path, mode: writable and (path, mode) == (Path.cwd(), os.W_OK))
    assert doctor()["folder writable"] == text


def test_versions_threads_and_free_space(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**13, 10**12, 1_234_000_000))
    facts = doctor()
    assert (facts["torch"], facts["no-such-package"]) == (version("torch"), "not installed")
    assert facts["processors"] == "64 (7 used by torch)"
    assert facts["free disk space"] == "1.2 GB"
