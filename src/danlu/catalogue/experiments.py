"""The experiments by name, in the order of the lecture notes."""

from __future__ import annotations

from typing import Any, NamedTuple

from danlu.catalogue.lookup import look_up, resolve


class Claim(NamedTuple):
    """Where an experiment lives (``module:attribute``), the section of the notes, and what they claim there."""

    target: str
    section: str
    claim: str

    @property
    def group(self) -> str:
        """The part of the notes.

        >>> EXPERIMENTS["momentum"].group
        'Gradient descent'
        """
        return next(title for section, title in CHAPTERS.items() if self.section.startswith(section))


CHAPTERS: dict[str, str] = {
    "0.3": "Gradient descent",
    "1.2": "Layers",
    "1.3": "Against overfitting",
    "1.4": "Deep structures",
    "2.1.3": "Variational autoencoders",
    "2.1": "Likelihood",
    "2.2": "Adversarial networks",
    "3.2": "Recurrent networks",
    "3.4": "Language models",
}
EXPERIMENTS: dict[str, Claim] = {
    "sgd-noise": Claim(
        "danlu.experiments.optimization.sgd_noise:EXPERIMENT", "0.3.2", "mini-batch noise lessens overfitting"
    ),
    "momentum": Claim(
        "danlu.experiments.optimization.momentum:EXPERIMENT", "0.3.3", "momentum damps oscillation and converges faster"
    ),
    "optimizers": Claim(
        "danlu.experiments.optimization.optimizers:EXPERIMENT", "0.3.4", "Adam adapts and converges where SGD struggles"
    ),
    "linear-collapse": Claim(
        "danlu.experiments.networks.linear_collapse:EXPERIMENT",
        "1.2.1",
        "without activations any depth is one linear map",
    ),
    "line-detector": Claim(
        "danlu.experiments.networks.line_detector:EXPERIMENT",
        "1.2.2",
        "a 3×3 kernel finds vertical lines, and max pooling keeps the answer",
    ),
    "shift-invariance": Claim(
        "danlu.experiments.networks.shift_invariance:EXPERIMENT",
        "1.2.2",
        "convolution uses translation, fully connected layers do not",
    ),
    "batchnorm": Claim(
        "danlu.experiments.networks.batchnorm:EXPERIMENT",
        "1.2.3",
        "batch norm keeps the scale of activations through depth and training",
    ),
    "overfitting": Claim(
        "danlu.experiments.networks.overfitting:EXPERIMENT",
        "1.3",
        "L2, augmentation, dropout and early stopping close the gap",
    ),
    "depth": Claim(
        "danlu.experiments.networks.depth:EXPERIMENT",
        "1.4",
        "plain networks stop training when deep; residual and dense ones do not",
    ),
    "mle-vs-sum": Claim(
        "danlu.experiments.likelihood.mle_vs_sum:EXPERIMENT",
        "2.1",
        "the sum of p has trivial optima and a vanishing scale, the sum of log p has neither",
    ),
    "elbo": Claim(
        "danlu.experiments.likelihood.elbo:EXPERIMENT",
        "2.1.3.2",
        "the bound is log p(x) less the divergence of q from the posterior, and tight there",
    ),
    "beta-vae": Claim(
        "danlu.experiments.likelihood.beta_vae:EXPERIMENT", "2.1.3.5.2", "β trades reconstruction against divergence"
    ),
    "optimal-discriminator": Claim(
        "danlu.experiments.adversarial.optimal_discriminator:EXPERIMENT",
        "2.2.2",
        "the best critic is p / (p + q), and with it the game's value is JSD − log 4",
    ),
    "fid-vs-is": Claim(
        "danlu.experiments.adversarial.fid_vs_is:EXPERIMENT",
        "2.2.3.1",
        "FID reacts to noise and blur, the Inception Score hardly, and that accepts one picture per class",
    ),
    "kl-directions": Claim(
        "danlu.experiments.adversarial.kl_directions:EXPERIMENT",
        "2.2.3.2",
        "inclusive KL covers modes, exclusive KL picks one, and JSD is like the exclusive",
    ),
    "mode-collapse": Claim(
        "danlu.experiments.adversarial.mode_collapse:EXPERIMENT",
        "2.2.3.2",
        "GANs drop modes; minibatch discrimination and WGAN help",
    ),
    "tug-of-war": Claim(
        "danlu.experiments.adversarial.tug_of_war:EXPERIMENT", "2.2.3.3", "two players who pull at −xy never settle"
    ),
    "generator-gradient": Claim(
        "danlu.experiments.adversarial.generator_gradient:EXPERIMENT",
        "2.2.3.3",
        "when the critic wins, the generator's gradient vanishes",
    ),
    "latent-arithmetic": Claim(
        "danlu.experiments.adversarial.latent_arithmetic:EXPERIMENT", "2.2.4.1", "latent codes add and subtract"
    ),
    "one-sided-smoothing": Claim(
        "danlu.experiments.adversarial.one_sided_smoothing:EXPERIMENT",
        "2.2.4.2",
        "smoothing the real label helps, smoothing the fake one harms",
    ),
    "batchnorm-hue": Claim(
        "danlu.experiments.adversarial.batchnorm_hue:EXPERIMENT",
        "2.2.4.2",
        "batch norm ties the samples of a batch together, virtual batch norm does not",
    ),
    "disjoint-supports": Claim(
        "danlu.experiments.adversarial.disjoint_supports:EXPERIMENT",
        "2.2.5.1",
        "JSD is constant on disjoint supports, the Wasserstein distance is not",
    ),
    "wgan-architectures": Claim(
        "danlu.experiments.adversarial.wgan_architectures:EXPERIMENT",
        "2.2.5.1",
        "WGAN trains whatever the architecture",
    ),
    "weight-clipping": Claim(
        "danlu.experiments.adversarial.weight_clipping:EXPERIMENT",
        "2.2.5.2",
        "clipping drives weights to ±c; the penalty does not",
    ),
    "conditional-vs-plain": Claim(
        "danlu.experiments.adversarial.conditional_vs_plain:EXPERIMENT", "2.2.6.1", "labels make a GAN stronger"
    ),
    "vanishing-gradient": Claim(
        "danlu.experiments.sequences.vanishing_gradient:EXPERIMENT",
        "3.2.3",
        "an RNN forgets after about 7 steps, an LSTM after about 100",
    ),
    "spectral-radius": Claim(
        "danlu.experiments.sequences.spectral_radius:EXPERIMENT",
        "3.2.3",
        "with a spectral radius above 1 gradients explode, below 1 they vanish",
    ),
    "nce-gradient": Claim(
        "danlu.experiments.sequences.nce_gradient:EXPERIMENT",
        "3.4.3.1",
        "the gradient of noise-contrastive estimation tends to that of maximum likelihood as k grows",
    ),
    "nce-normalizer": Claim(
        "danlu.experiments.sequences.nce_normalizer:EXPERIMENT",
        "3.4.3.1",
        "after noise-contrastive estimation the model's normalizer is close to 1",
    ),
    "beam-search": Claim(
        "danlu.experiments.sequences.beam_search:EXPERIMENT", "3.4.3.2", "greedy search is misled, beam search is not"
    ),
}


def find_experiment(name: str) -> Any:
    """The experiment of that name.

    Raises:
        UsageError: if there is no experiment of that name.
    """
    return resolve(look_up("experiment", name, EXPERIMENTS).target)
