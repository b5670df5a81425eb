"""Feature networks against the layers that they stand for, names of scores, and the cache of reference statistics."""

import pytest
import torch
from torch import nn

from danlu.evaluation import (
    ClassifierFeatures,
    ClassifyingNetwork,
    Columns,
    FeatureNetwork,
    InceptionFeatures,
    extract,
    load_moments,
    moments,
    reference_moments,
    save_moments,
)
from danlu.evaluation.feature_networks import score_name
from danlu.metrics import Moments, Origin, frechet_distance
from danlu.models import CNN, MLP, DenseNet, InceptionFID, ResNet
from danlu.nn import output_layer
from danlu.storage import Access

SHAPE = (1, 8, 8)
CLASSIFIERS = {
    "cnn": lambda: CNN(SHAPE, 10, channels=(4,), hidden=(16,), dropout=0.5, norm="batch"),
    "cnn without hidden layers": lambda: CNN(SHAPE, 10, channels=(4,), hidden=()),
    "mlp": lambda: MLP(SHAPE, 10, hidden=(20, 12)),
    "resnet": lambda: ResNet(SHAPE, 10, blocks=(1, 1), width=4),
    "densenet": lambda: DenseNet(SHAPE, 10, blocks=(2, 2), growth=4, width=8),
}


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_features_are_what_the_last_layer_sees(make):
    """The last layer's weights on the features give the classifier's probabilities; ``encode`` gives the features."""
    net, x = make().eval(), torch.rand(6, *SHAPE)
    network = ClassifierFeatures(net, "digits-net")
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    features = network.features(x)
    assert features.shape == (6, head.in_features)
    torch.testing.assert_close((features @ head.weight.T + head.bias).softmax(1), net.classify(x))
    torch.testing.assert_close(network.probabilities(x), net.classify(x))
    if hasattr(net, "encode"):
        torch.testing.assert_close(features, net.encode(x))


def test_nothing_stays_on_the_classifier():
    net = CLASSIFIERS["mlp"]()
    network = ClassifierFeatures(net, "digits-mlp")
    with pytest.raises(RuntimeError):
        network.features(torch.rand(2, 3))
    network.features(torch.rand(2, *SHAPE))
    assert not network.last._forward_pre_hooks
    with pytest.raises(ValueError, match="no linear layer"):
        ClassifierFeatures(nn.ReLU(), "none")


def test_the_declared_output_layer_gives_the_features_whatever_is_registered_after_it():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = output_layer(nn.Linear(3, 2))
            self.hidden = nn.Linear(4, 3)

        def forward(self, x):
            return self.logits(self.hidden(x))

    net, x = Backwards(), torch.rand(5, 4)
    network = ClassifierFeatures(net, "backwards")
    torch.testing.assert_close(network.features(x), net.hidden(x))
    torch.testing.assert_close(network.probabilities(x), net(x).softmax(1))


def test_looking_is_batched_without_gradients_in_evaluation_mode():
    net = CLASSIFIERS["cnn"]().train()
    net.convolutions.eval()  # a part that rests goes on resting
    network, x = ClassifierFeatures(net, "digits-cnn"), torch.rand(23, *SHAPE)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seen = extract(network, x, batch_size=7)
    assert net.training
    assert not net.convolutions.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not seen.features.requires_grad
    net.eval()
    torch.testing.assert_close(seen.features, network.features(x))
    torch.testing.assert_close(seen.probabilities, net.classify(x))
    by_batches = extract(network, iter(x.split(5)))
    torch.testing.assert_close(by_batches.features, seen.features)


def test_moments_are_those_of_the_features():
    network, x = ClassifierFeatures(CLASSIFIERS["cnn"](), "digits-cnn"), torch.rand(40, *SHAPE)
    found, features = moments(network, x, batch_size=9), extract(network, x).features
    torch.testing.assert_close(found.covariance(), torch.cov(features.double().T), rtol=1e-5, atol=1e-9)
    assert found.origin == network.origin
    assert found.count == 40


def test_inception_leaves_out_the_bias_of_its_last_layer():
    """As the code of the published Inception Score; with the bias it would be the network's own ``classify``."""
    net, x = InceptionFID(), torch.rand(2, 1, 8, 8)
    torch.nn.init.normal_(net.fc.bias)
    network = InceptionFeatures(net)
    seen = extract(network, x, batch_size=1)
    torch.testing.assert_close(seen.features, net.features(x))
    torch.testing.assert_close(seen.probabilities, (net(x) - net.fc.bias).softmax(1))
    torch.testing.assert_close(network.probabilities(x), seen.probabilities)
    assert score_name("FID", network.origin, 2, "train") == "FID[inception at 299×299, 2 vs train]"


def test_columns_are_features_without_classes():
    x = torch.rand(5, 2)
    seen = extract(Columns(), x, batch_size=2)
    assert torch.equal(seen.features, x)
    assert seen.probabilities is None
    assert isinstance(Columns(), FeatureNetwork)
    assert not isinstance(Columns(), ClassifyingNetwork)
    with pytest.raises(ValueError, match="examples must not be empty"):
        extract(Columns(), x[:0])
    with pytest.raises(ValueError, match="examples must not be empty"):
        moments(Columns(), [])


def test_features_of_two_networks_are_never_compared():
    """Not even those of two trainings that have one name."""
    x = torch.rand(30, *SHAPE)
    one, other = (moments(ClassifierFeatures(CLASSIFIERS["mlp"](), "digits-mlp"), x) for _ in range(2))
    columns = moments(Columns(), x.flatten(1)[:, :12])
    for wrong in (other, columns):
        with pytest.raises(ValueError, match="digits-mlp with weights"):
            frechet_distance(one, wrong)


def test_names_say_what_was_measured():
    assert score_name("FID", "digits-cnn", 10000, "train") == "FID[digits-cnn, 10000 vs train]"
    assert score_name("KID", Origin("inception", "299×299", "6726825d"), 500, "test").startswith("KID[inception at 299")
    assert score_name("IS", Origin("digits-cnn", weights="abc"), 9) == "IS[digits-cnn, 9]"


# The cache


class Counting:
    """Examples that say how often they were asked for."""

    def __init__(self, x):
        self.x, self.asked = x, 0

    def __call__(self):
        self.asked += 1
        return self.x


def kept_in(folder):
    return list((folder / "moments").iterdir())


@pytest.fixture
def access(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    return Access()


def test_moments_are_found_once(access, tmp_path):
    network, examples = ClassifierFeatures(CLASSIFIERS["mlp"](), "digits-mlp"), Counting(torch.rand(40, *SHAPE))
    first = reference_moments(network, "f1", "train", examples, access)
    again = reference_moments(network, "f1", "train", examples, access)
    assert examples.asked == 1
    assert again.count == 40
    assert again.origin == network.origin
    assert torch.equal(first.scatter, again.scatter)
    assert torch.equal(first.mean, again.mean)
    assert len(kept_in(tmp_path)) == 1


def test_other_data_parts_and_weights_have_their_own(access, tmp_path):
    network, examples = ClassifierFeatures(CLASSIFIERS["mlp"](), "digits-mlp"), Counting(torch.rand(9, *SHAPE))
    other = ClassifierFeatures(CLASSIFIERS["mlp"](), "digits-mlp")
    for n, data, part in (
        (network, "f1", "train"),
        (network, "f2", "train"),
        (network, "f1", "test"),
        (other, "f1", "train"),
    ):
        reference_moments(n, data, part, examples, access)
    assert examples.asked == 4
    assert len(kept_in(tmp_path)) == 4


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "another"])
def test_what_is_damaged_is_made_anew(access, tmp_path, damage):
    examples = Counting(torch.rand(9, 4))
    first = reference_moments(Columns(), "f1", "train", examples, access)
    (file,) = kept_in(tmp_path)
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "another":
        save_moments(Moments.of(torch.rand(9, 4), Origin("digits-cnn")), file)
    else:
        file.write_bytes({"cut": content[:-9], "empty": b"", "text": b"not found"}[damage])
    again = reference_moments(Columns(), "f1", "train", examples, access)
    assert examples.asked == 2
    assert torch.equal(again.scatter, first.scatter)
    reference_moments(Columns(), "f1", "train", examples, access)
    assert examples.asked == 2
    assert load_moments(file).origin == Columns.origin


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file"))
    assert reference_moments(Columns(), "f1", "train", lambda: torch.rand(9, 4)).count == 9
