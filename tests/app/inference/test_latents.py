"""The class with which latents are decoded."""

import pytest

from danlu.app.inference.latents import check_class
from danlu.data.images.info import ImageInfo
from danlu.errors import UsageError
from danlu.models import VAE, ConditionalVAE


def model(kind, *names):
    classes = {"classes": 2} if kind is ConditionalVAE else {}
    made = kind((1, 4, 4), **classes, latent=2, hidden=(3,))
    made.info = ImageInfo((1, 4, 4), 2, names)
    return made


@pytest.mark.parametrize("label", [None, "all"])
def test_a_conditional_model_needs_one_class(label):
    with pytest.raises(UsageError, match="ConditionalVAE is class-conditional: give the class of the samples as label"):
        check_class(model(ConditionalVAE, "cat", "dog"), label)
    assert check_class(model(ConditionalVAE, "cat", "dog"), "dog") == "dog"
    assert check_class(model(VAE, "cat", "dog"), None) is None


def test_all_is_a_class_if_one_has_this_name():
    assert check_class(model(ConditionalVAE, "all", "dog"), "all") == "all"
