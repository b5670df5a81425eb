"""Feature extractors that do not exist for some data."""

import pytest
import torch

from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.errors import RunError, UsageError
from danlu.evaluation import Columns, moments, save_moments
from danlu.evaluation.feature_extractors import check_features, inception, plain_features
from danlu.storage import Access


def test_texts_have_no_features():
    with pytest.raises(UsageError, match="generated examples of the kind text have no scores; set eval_samples to 0"):
        plain_features(TextInfo(vocabulary=5))


def test_the_kind_and_the_channels_of_the_data_are_checked():
    with pytest.raises(UsageError, match="feature_extractor=pixels is for images, got data of the kind table; leave"):
        check_features("pixels", TableInfo((2,)))
    with pytest.raises(UsageError, match="inception is for images with 1 or 3 channels, got 2 channels; use pixels"):
        check_features("inception", ImageInfo((2, 8, 8)))
    check_features("inception", ImageInfo((3, 8, 8)))
    check_features("auto", TableInfo((2,)))


def test_weights_that_may_not_be_downloaded_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"needs? the public file .* bytes\) in .*/inception; download it from https"):
        inception(Access(tmp_path, download=False))


def test_moments_that_cannot_be_written_are_an_error_of_the_system(tmp_path):
    computed = moments(Columns(), torch.rand(5, 2))
    with pytest.raises(OSError, match="No such file or directory"):
        save_moments(computed, tmp_path / "missing" / "a.safetensors")
    assert not list(tmp_path.iterdir())
