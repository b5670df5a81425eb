"""Which pixels an output depends on: by gradients, at every position."""

import pytest
import torch
from torch import nn

from danlu.models import GatedPixelCNN, PixelCNN

MODELS = (PixelCNN, GatedPixelCNN)
every_model = pytest.mark.parametrize("cls", MODELS)
HEIGHT, WIDTH = 4, 5


def model_of(cls, shape=(1, HEIGHT, WIDTH), **changes):
    torch.manual_seed(0)
    values = {"levels": 4, "layers": 2, "channels": 6, "first_kernel": 3, **changes}
    model = cls(shape, **values).double()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            gates = "horizontal" in name or "vertical" in name
            nn.init.constant_(parameter, 0.3 if gates else 3.0)  # no rectifier cuts off a dependence
    return model


def dependence(model, shape):
    """For each value of an image, the values on which the parameters of its distribution depend, in raster order."""
    colors, height, width = shape
    y = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    weights = torch.eye(model.classes, dtype=torch.float64)[:1] if model.classes else None
    outputs = model.compute_outputs(y, weights)
    groups = model.output.groups
    result = torch.zeros(height, width, colors, height, width, colors, dtype=torch.bool)
    for row in range(height):
        for column in range(width):
            for color in range(colors):
                own = outputs[0, color if groups > 1 else 0, :, row, column]
                (gradient,) = torch.autograd.grad((own * torch.randn_like(own)).sum(), y, retain_graph=True)
                result[row, column, color] = gradient[0].permute(1, 2, 0) != 0
    return result.reshape(height * width * colors, -1)


@every_model
@pytest.mark.parametrize("output", ["categorical", "logistic", "affine"])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("classes", [0, 2])
def test_no_output_depends_on_itself_or_a_later_value(cls, output, colors, classes):
    shape = (colors, HEIGHT, WIDTH)
    model = model_of(cls, shape, output=output, classes=classes)
    depends = dependence(model, shape)
    places = torch.arange(len(depends))
    if output == "logistic":  # a pixel is one place: its colors are coupled by the distribution
        places = places // colors
    assert not depends[places[:, None] <= places].any()
    for place in range(colors, len(depends)):
        assert depends[place].any()
    if output != "logistic" and colors == 3:  # green depends on red, blue on both, of the same pixel
        pixels = depends.view(HEIGHT * WIDTH, 3, HEIGHT * WIDTH, 3)
        own = pixels[torch.arange(HEIGHT * WIDTH), :, torch.arange(HEIGHT * WIDTH)]
        assert own.eq(torch.ones(3, 3).tril(-1).bool()).all()


@every_model
@pytest.mark.parametrize(("layers", "kernel", "first_kernel"), [(1, 3, 3), (2, 3, 5), (3, 3, 3), (2, 5, 3)])
def test_the_receptive_field_is_that_of_the_formula(cls, layers, kernel, first_kernel):
    """The gradient of the middle of a large image is not 0 exactly at the pixels of the formula."""
    model = model_of(cls, (1, 12, 23), layers=layers, kernel=kernel, first_kernel=first_kernel, channels=5)
    for parameter in model.parameters():  # positive, so that rectifiers pass all, and small, so that no gate saturates
        nn.init.uniform_(parameter, 0.01, 0.1)
    y = torch.rand(1, 1, 12, 23, dtype=torch.float64, requires_grad=True)
    center = model.compute_outputs(y, None)[0, 0, 0, 11, 11]
    (gradient,) = torch.autograd.grad(center, y)
    seen = {(row - 11, column - 11) for row, column in gradient[0, 0].nonzero().tolist()}
    assert seen == model.visible_pixels()


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_pixelcnn_has_a_blind_spot(layers):
    """To the right of the pixel the field ends at the first reach, and one pixel later with each row above."""
    field = model_of(PixelCNN, layers=layers, first_kernel=7).visible_pixels()
    for above in range(1, 3 + layers + 1):
        right = max(column for row, column in field if row == -above)
        assert right == 3 + min(above - 1, layers)
        assert min(column for row, column in field if row == -above) == -3 - layers
    assert (-1, 3 + layers) not in field  # blind: in the rectangle that the model reaches, but without influence


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_gated_pixelcnn_sees_the_whole_rectangle(layers):
    field = model_of(GatedPixelCNN, layers=layers, first_kernel=7).visible_pixels()
    reach = 3 + layers - 1
    rectangle = {(row, column) for row in range(-reach, 1) for column in range(-reach, reach + 1)}
    assert field == {place for place in rectangle if place < (0, 0)}


@every_model
@pytest.mark.parametrize("colors", [1, 3])
def test_the_conditional_of_every_pixel_depends_on_the_class(cls, colors):
    model = model_of(cls, (colors, HEIGHT, WIDTH), classes=3)
    x = torch.rand(2, colors, HEIGHT, WIDTH, dtype=torch.float64)
    a, b = (model(x, torch.full((2,), label)) for label in (0, 2))
    assert ((a - b).abs().amax(2) > 1e-6).all()
