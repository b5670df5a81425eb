"""The experiments by name, in the order of the lecture notes."""

from __future__ import annotations

from typing import Any, NamedTuple

from danlu.catalogue.lookup import look_up, resolve


class Claim(NamedTuple):
    """One experiment.

    Attributes:
        target: its location, ``module:attribute``.
        section: the section of the lecture notes.
        line: the line of the lecture notes.
        claim: the claim in one sentence.
    """

    target: str
    section: str
    line: int
    claim: str

    @property
    def group(self) -> str:
        """The title of the chapter.

        >>> EXPERIMENTS["momentum"].group
        'Gradient descent'
        """
        return next(title for section, title in CHAPTERS.items() if self.section.startswith(section))


CHAPTERS: dict[str, str] = {
    "0.3": "Gradient descent",
    "1.2": "Layers",
    "1.3": "Reducing overfitting",
    "1.4": "Deep architectures",
    "2.1.1": "Energy-based models",
    "2.1.2": "Normalizing flows",
    "2.1.3": "Variational autoencoders",
    "2.1": "Likelihood",
    "2.2": "Adversarial networks",
    "3.2": "Recurrent networks",
    "3.4": "Language models",
}
EXPERIMENTS: dict[str, Claim] = {
    "sgd-noise": Claim(
        "danlu.experiments.optimization.sgd_noise:EXPERIMENT", "0.3.2", 65, "mini-batch noise reduces overfitting"
    ),
    "momentum": Claim(
        "danlu.experiments.optimization.momentum:EXPERIMENT",
        "0.3.3",
        82,
        "momentum damps oscillation and converges faster",
    ),
    "optimizers": Claim(
        "danlu.experiments.optimization.optimizers:EXPERIMENT",
        "0.3.4",
        98,
        "Adam adapts its learning rate, and so fits different data sets better",
    ),
    "linear-collapse": Claim(
        "danlu.experiments.networks.linear_collapse:EXPERIMENT",
        "1.2.1",
        152,
        "without activations a network of any depth is one linear map, which is not enough",
    ),
    "line-detector": Claim(
        "danlu.experiments.networks.line_detector:EXPERIMENT",
        "1.2.2",
        175,
        "a 3×3 kernel detects vertical lines, and max pooling keeps the detected lines",
    ),
    "shift-invariance": Claim(
        "danlu.experiments.networks.shift_invariance:EXPERIMENT",
        "1.2.2",
        159,
        "convolution generalizes over shifts, fully connected layers do not",
    ),
    "batchnorm": Claim(
        "danlu.experiments.networks.batchnorm:EXPERIMENT",
        "1.2.3",
        188,
        "batch norm keeps the scale of outputs, and so avoids vanishing and exploding gradients",
    ),
    "overfitting": Claim(
        "danlu.experiments.networks.overfitting:EXPERIMENT",
        "1.3",
        206,
        "L2, augmentation, dropout and early stopping reduce the generalization gap",
    ),
    "depth": Claim(
        "danlu.experiments.networks.depth:EXPERIMENT",
        "1.4",
        226,
        "deep plain networks are not trained well; residual and dense networks are",
    ),
    "mle-vs-sum": Claim(
        "danlu.experiments.likelihood.mle_vs_sum:EXPERIMENT",
        "2.1",
        395,
        "the sum of p has trivial optima and a vanishing gradient, the sum of log p has neither",
    ),
    "hopfield-recall": Claim(
        "danlu.experiments.energy.hopfield_recall:EXPERIMENT",
        "2.1.1.1",
        421,
        "a stored pattern is the minimum of the energy, several are local minima, and descent finds them",
    ),
    "hopfield-capacity": Claim(
        "danlu.experiments.energy.hopfield_capacity:EXPERIMENT",
        "2.1.1.1",
        424,
        "a Hopfield network of N units stores up to O(N log N) patterns",
    ),
    "boltzmann-gradient": Claim(
        "danlu.experiments.energy.boltzmann_gradient:EXPERIMENT",
        "2.1.1.2",
        467,
        "the gradient of a Boltzmann machine is the correlation of the data minus that of the model",
    ),
    "gibbs": Claim(
        "danlu.experiments.sampling.gibbs:EXPERIMENT",
        "2.1.1.3.1",
        480,
        "Gibbs sampling from a random state, repeated often enough, samples the model",
    ),
    "importance-sampling": Claim(
        "danlu.experiments.sampling.importance_sampling:EXPERIMENT",
        "2.1.1.3.2",
        495,
        "the variance of importance sampling is smallest if the proposal q is proportional to p",
    ),
    "metropolis-hastings": Claim(
        "danlu.experiments.sampling.metropolis_hastings:EXPERIMENT",
        "2.1.1.3.3",
        507,
        "with the right acceptance, any proposal has p as its stationary distribution",
    ),
    "hidden-units": Claim(
        "danlu.experiments.energy.hidden_units:EXPERIMENT",
        "2.1.1.4",
        522,
        "hidden units make a Boltzmann machine far more expressive",
    ),
    "rbm-parallel": Claim(
        "danlu.experiments.energy.rbm_parallel:EXPERIMENT",
        "2.1.1.4",
        531,
        "in a restricted Boltzmann machine, two parallel updates replace one for each unit, which is much faster",
    ),
    "log-det-cost": Claim(
        "danlu.experiments.likelihood.log_det_cost:EXPERIMENT",
        "2.1.2.3",
        572,
        "the log-determinant of a planar layer costs O(d), that of a general layer O(d³)",
    ),
    "latent-walk": Claim(
        "danlu.experiments.likelihood.latent_walk:EXPERIMENT",
        "2.1.2.4",
        595,
        "the walk through four codes of RealNVP changes the features of an image continuously",
    ),
    "blind-spot": Claim(
        "danlu.experiments.likelihood.blind_spot:EXPERIMENT",
        "2.1.2.6",
        633,
        "stacked layers of PixelCNN have a blind spot, without a large effect; the gated form has none",
    ),
    "af-vs-iaf": Claim(
        "danlu.experiments.likelihood.af_vs_iaf:EXPERIMENT",
        "2.1.2.7",
        639,
        "MAF is trained fast and samples slowly, IAF the other way round",
    ),
    "distillation": Claim(
        "danlu.experiments.likelihood.distillation:EXPERIMENT",
        "2.1.2.7",
        653,
        "a student IAF learns the density of a teacher MAF without a slow direction, and generates fast",
    ),
    "elbo": Claim(
        "danlu.experiments.likelihood.elbo:EXPERIMENT",
        "2.1.3.2",
        685,
        "the ELBO is log p(x) minus the KL divergence of q from the posterior; maximizing it improves both",
    ),
    "beta-vae": Claim(
        "danlu.experiments.likelihood.beta_vae:EXPERIMENT",
        "2.1.3.5.2",
        774,
        "β trades reconstruction against KL divergence",
    ),
    "optimal-discriminator": Claim(
        "danlu.experiments.adversarial.optimal_discriminator:EXPERIMENT",
        "2.2.2",
        841,
        "the optimal critic is p / (p + q), and its minimax value is JSD − log 4",
    ),
    "fid-vs-is": Claim(
        "danlu.experiments.adversarial.fid_vs_is:EXPERIMENT",
        "2.2.3.1",
        883,
        "FID detects noise and blur; the Inception Score hardly changes, even with one image per class",
    ),
    "kl-directions": Claim(
        "danlu.experiments.adversarial.kl_directions:EXPERIMENT",
        "2.2.3.2",
        887,
        "inclusive KL covers modes, exclusive KL selects one, and JSD behaves like exclusive KL",
    ),
    "mode-collapse": Claim(
        "danlu.experiments.adversarial.mode_collapse:EXPERIMENT",
        "2.2.3.2",
        887,
        "GANs drop modes; minibatch discrimination and WGAN help",
    ),
    "tug-of-war": Claim(
        "danlu.experiments.adversarial.tug_of_war:EXPERIMENT",
        "2.2.3.3",
        901,
        "two players on xy and −xy do not reach the equilibrium by gradient descent",
    ),
    "generator-gradient": Claim(
        "danlu.experiments.adversarial.generator_gradient:EXPERIMENT",
        "2.2.3.3",
        905,
        "with a near-optimal critic, the generator's gradient vanishes",
    ),
    "latent-arithmetic": Claim(
        "danlu.experiments.adversarial.latent_arithmetic:EXPERIMENT",
        "2.2.4.1",
        918,
        "latents can be added and subtracted",
    ),
    "one-sided-smoothing": Claim(
        "danlu.experiments.adversarial.one_sided_smoothing:EXPERIMENT",
        "2.2.4.2",
        966,
        "smoothing the target of real examples helps, that of generated examples harms",
    ),
    "batchnorm-hue": Claim(
        "danlu.experiments.adversarial.batchnorm_hue:EXPERIMENT",
        "2.2.4.2",
        968,
        "batch norm makes the samples of a batch dependent, virtual batch norm does not",
    ),
    "disjoint-supports": Claim(
        "danlu.experiments.adversarial.disjoint_supports:EXPERIMENT",
        "2.2.5.1",
        984,
        "JSD is constant on disjoint supports, the Wasserstein distance is not",
    ),
    "wgan-architectures": Claim(
        "danlu.experiments.adversarial.wgan_architectures:EXPERIMENT",
        "2.2.5.1",
        1026,
        "training of a WGAN succeeds with every tested architecture",
    ),
    "weight-clipping": Claim(
        "danlu.experiments.adversarial.weight_clipping:EXPERIMENT",
        "2.2.5.2",
        1042,
        "clipping drives weights to ±c; the gradient penalty does not",
    ),
    "conditional-vs-plain": Claim(
        "danlu.experiments.adversarial.conditional_vs_plain:EXPERIMENT", "2.2.6.1", 1068, "labels improve a GAN"
    ),
    "vanishing-gradient": Claim(
        "danlu.experiments.sequences.vanishing_gradient:EXPERIMENT",
        "3.2.3",
        1186,
        "an RNN forgets after about 7 steps, an LSTM after about 100",
    ),
    "spectral-radius": Claim(
        "danlu.experiments.sequences.spectral_radius:EXPERIMENT",
        "3.2.3",
        1168,
        "states and gradients explode with a spectral radius above 1 and vanish below 1",
    ),
    "nce-gradient": Claim(
        "danlu.experiments.sequences.nce_gradient:EXPERIMENT",
        "3.4.3.1",
        1650,
        "the gradient of noise-contrastive estimation converges to that of maximum likelihood as k grows",
    ),
    "nce-normalizer": Claim(
        "danlu.experiments.sequences.nce_normalizer:EXPERIMENT",
        "3.4.3.1",
        1678,
        "after noise-contrastive estimation the model's normalizer is close to 1",
    ),
    "beam-search": Claim(
        "danlu.experiments.sequences.beam_search:EXPERIMENT",
        "3.4.3.2",
        1684,
        "greedy search misses the best sequence, beam search does not",
    ),
}


def find_experiment(name: str) -> Any:
    """The experiment with the given name.

    Raises:
        UsageError: if there is no experiment of that name.
    """
    return resolve(look_up("experiment", name, EXPERIMENTS).target)
