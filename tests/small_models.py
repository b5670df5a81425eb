"""A small model of every class of the catalogue."""

from danlu.models import (
    CNN,
    IAF,
    MAF,
    MLP,
    RBM,
    VAE,
    ConditionalVAE,
    DCGANCritic,
    DCGANGenerator,
    DenseNet,
    GatedPixelCNN,
    Hopfield,
    LanguageModel,
    MLPCritic,
    MLPGenerator,
    PixelCNN,
    PlanarFlow,
    RealNVP,
    ResNet,
    ResNetCritic,
    ResNetGenerator,
    SemiSupervisedVAE,
    StackedVAE,
)


def every_model():
    """A small model of every class of the catalogue, and of those whose capabilities depend on an argument two."""
    shape, image = (4,), (1, 8, 8)
    labeled = {"hidden": (8,), "latent": 2}
    second = SemiSupervisedVAE((3,), 2, classifier_hidden=(4,), likelihood="gaussian", **labeled)
    return [
        MLP(shape, 2),
        CNN(image, 2),
        ResNet(image, 2, blocks=(1,), width=4),
        DenseNet(image, 2, blocks=(2,), growth=2),
        VAE(shape, latent=2, hidden=(8,)),
        VAE(image, latent=2, hidden=(8,), masks=True),
        VAE(shape, latent=2, hidden=(8,), posterior="planar", posterior_layers=2),
        ConditionalVAE(shape, 2, **labeled),
        ConditionalVAE(shape, 2, **labeled, posterior="iaf", posterior_layers=2),
        SemiSupervisedVAE(shape, 2, classifier_hidden=(4,), **labeled),
        StackedVAE(VAE(shape, latent=3, hidden=(8,)), second),
        Hopfield(image, 3),
        Hopfield(shape, 2, form="modern"),
        RBM(image, 3),
        RBM(shape, 3, visible="gaussian"),
        PlanarFlow(shape, layers=2),
        PlanarFlow(shape, layers=2, classes=2),
        RealNVP(shape, couplings=2, hidden=(8,)),
        RealNVP(image, levels=17, classes=2, width=4, blocks=1),
        PixelCNN(image, layers=2, channels=4),
        PixelCNN(image, layers=2, channels=4, output="affine"),
        GatedPixelCNN(image, 2, layers=2, channels=4),
        MAF(shape, blocks=1, hidden=(8,), classes=2),
        IAF(shape, blocks=1, hidden=(8,)),
        DCGANGenerator(image, 0, (0.0, 1.0), width=4),
        DCGANCritic(image, 0, width=4),
        ResNetGenerator(image, 2, (0.0, 1.0), width=4),
        ResNetCritic(image, 2, width=4),
        MLPGenerator((2,), 0, None),
        MLPGenerator((2,), 3, None),
        MLPCritic((2,), 3),
        LanguageModel(5, width=4),
    ]
