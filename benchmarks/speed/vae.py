"""One epoch of a VAE 784-500-500-50 on MNIST in batches of 100, beside the trainer of pythae on the same networks.

Both have ReLU, Bernoulli pixels, the closed form of the KL divergence, one draw of the code and Adam with a learning
rate of 0.001. The encoder and decoder of pythae are classes of this benchmark, as its documentation describes. Only its
epoch is timed, without the copies and the saving after each epoch.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import DataSettings, Shuffled
from danlu.models import VAE
from danlu.rng import generator
from danlu.tasks import Elbo
from danlu.training import OptimizerSettings, Trainer

BATCH, LATENT, HIDDEN, LR, PAIRS = 100, 50, (500, 500), 1e-3, 7


def run() -> list[Row]:
    """One row, in seconds an epoch of processor time on one thread."""
    torch.set_num_threads(1)
    part = DataSettings(data="mnist").load().train
    _same_bound(part.rows(slice(0, BATCH))["image"])
    epochs = int(part["image"].shape[0] / BATCH)
    ends: dict[str, list[float]] = {"theirs": [], "ours": []}
    with tempfile.TemporaryDirectory() as scratch:
        pairs = alternate(
            lambda: _by_pythae(part, scratch, ends["theirs"]), lambda: _by_danlu(part, epochs, ends["ours"]), PAIRS
        )
    times = compared(pairs)
    found = {side: f"{statistics.mean(values):.1f}" for side, values in ends.items()}
    row = Row(
        name="vae",
        peer=f"pythae {version('pythae')}",
        unit="s an epoch",
        **times,
        target="at least 1.5 times as fast",
        met=times["ratio"] >= 1.5,
        notes=f"{epochs} steps; negative ELBO, in nats, mean over the epoch: {found['theirs']} theirs, "
        f"{found['ours']} ours; danlu's step includes the gradient norm and the check for NaN",
    )
    return [row]


def _vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 28, 28), LATENT, HIDDEN)


def _by_danlu(part: Any, rounds: int, ends: list[float]) -> float:
    trainer = Trainer(Elbo(_vae()), OptimizerSettings(lr=LR, optimizer="adam"), Shuffled(part, BATCH), rounds)
    losses: list[Any] = []

    def epoch() -> None:
        losses.extend(trainer)

    seconds = cpu_seconds(epoch)
    ends.append(statistics.mean(sum(v for k, v in r.values().items() if _is_term(k)) for r in losses))
    return seconds


def _is_term(name: str) -> bool:
    return name.endswith(("/reconstruction", "/kl"))


def _by_pythae(part: Any, scratch: str, ends: list[float]) -> float:
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)
    images = part.rows(slice(0, len(part)))["image"]
    config = BaseTrainerConfig(
        output_dir=scratch, per_device_train_batch_size=BATCH, num_epochs=1, learning_rate=LR, no_cuda=True
    )
    dataset = BaseDataset(images, torch.zeros(len(images)))
    trainer = BaseTrainer(_theirs(_vae()), train_dataset=dataset, training_config=config)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # a bar on the screen is not what is measured
    losses: list[float] = []
    seconds = cpu_seconds(lambda: losses.append(trainer.train_step(1)))
    ends.append(float(losses[0]))
    return seconds


def _theirs(vae: VAE) -> Any:
    """Pythae's VAE with the weights of ours."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU())
            self.embedding, self.log_var = nn.Linear(500, LATENT), nn.Linear(500, LATENT)

        def forward(self, x: Tensor) -> Any:
            h = self.layers(x.reshape(-1, 784))
            return ModelOutput(embedding=self.embedding(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            last = (nn.Linear(500, 784), nn.Sigmoid())
            self.layers = nn.Sequential(nn.Linear(LATENT, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), *last)

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    theirs = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
    coder, decoder = vae.autoencoder.inference, vae.autoencoder.generation.decoder
    mine = [*_linear(coder.encoder), *_linear(decoder)]
    there = [*_linear(theirs.encoder.layers), *_linear(theirs.decoder.layers)]
    head = _linear(coder.posterior)[0]
    with torch.no_grad():
        for layer, half in ((theirs.encoder.embedding, 0), (theirs.encoder.log_var, 1)):
            layer.weight.copy_(head.weight.chunk(2)[half])
            layer.bias.copy_(head.bias.chunk(2)[half])
        for layer, other in zip(mine, there, strict=True):
            other.load_state_dict(layer.state_dict())
    return theirs


def _linear(module: nn.Module) -> list[nn.Linear]:
    """The fully connected layers, in the order in which codes or pictures pass them."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def _same_bound(x: Tensor) -> None:
    """On the same weights, pictures and codes both compute the same two terms and gradients, up to rounding."""
    ours = _vae()
    theirs = _theirs(ours)
    noise = torch.randn(1, len(x), LATENT, generator=generator("noise", 0))
    through = ours(x, noise)
    mine = ours.autoencoder.reconstruction(x, through)[0].mean(), through.posterior.kl().sum(1).mean()
    theirs._sample_gauss = lambda mean, deviation: (mean + noise[0] * deviation, noise[0])
    output = theirs({"data": x})
    torch.testing.assert_close(
        torch.stack(mine), torch.stack([output.recon_loss, output.reg_loss]), rtol=1e-5, atol=1e-4
    )
    sum(mine).backward()
    output.loss.backward()
    first = ours.autoencoder.inference.encoder.first
    torch.testing.assert_close(first.weight.grad, theirs.encoder.layers[0].weight.grad, rtol=1e-4, atol=1e-5)
