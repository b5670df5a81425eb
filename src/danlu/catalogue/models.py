"""The model classes by name."""

from __future__ import annotations

from typing import Any

from danlu.catalogue.lookup import look_up, resolve

MODELS: dict[str, str] = {
    "MLP": "danlu.models.classify.mlp:MLP",
    "CNN": "danlu.models.classify.cnn:CNN",
    "ResNet": "danlu.models.classify.resnet:ResNet",
    "DenseNet": "danlu.models.classify.densenet:DenseNet",
    "Regressor": "danlu.models.classify.regressor:Regressor",
    "VAE": "danlu.models.latent.vae:VAE",
    "ConditionalVAE": "danlu.models.latent.conditional:ConditionalVAE",
    "SemiSupervisedVAE": "danlu.models.latent.semi_supervised:SemiSupervisedVAE",
    "StackedVAE": "danlu.models.latent.stacked:StackedVAE",
    "Hopfield": "danlu.models.energy.hopfield:Hopfield",
    "BoltzmannMachine": "danlu.models.energy.boltzmann.machine:BoltzmannMachine",
    "RBM": "danlu.models.energy.rbm.machine:RBM",
    "DeepEnergy": "danlu.models.energy.deep.deep_energy:DeepEnergy",
    "PlanarFlow": "danlu.models.flows.planar:PlanarFlow",
    "RealNVP": "danlu.models.flows.realnvp:RealNVP",
    "PixelCNN": "danlu.models.pixels.pixelcnn:PixelCNN",
    "GatedPixelCNN": "danlu.models.pixels.gated:GatedPixelCNN",
    "DCGANGenerator": "danlu.models.adversarial.dcgan:DCGANGenerator",
    "DCGANCritic": "danlu.models.adversarial.dcgan:DCGANCritic",
    "ResNetGenerator": "danlu.models.adversarial.resnet:ResNetGenerator",
    "ResNetCritic": "danlu.models.adversarial.resnet:ResNetCritic",
    "MLPGenerator": "danlu.models.adversarial.mlp:MLPGenerator",
    "MLPCritic": "danlu.models.adversarial.mlp:MLPCritic",
    "MAF": "danlu.models.flows.maf:MAF",
    "IAF": "danlu.models.flows.iaf:IAF",
    "LanguageModel": "danlu.models.recurrent.language:LanguageModel",
}


def find_model(name: str) -> type[Any]:
    """The model class with the given name.

    Raises:
        UsageError: if there is no model with this name.
    """
    return resolve(look_up("model", name, MODELS))


def name_of_model(cls: type[Any]) -> str | None:
    """The catalogue's name of a model class, or None for a class that is not in the catalogue."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    return next((name for name, known in MODELS.items() if known == target), None)
