"""``python -m benchmarks KIND [NAME…]``; ``--write`` keeps the results.

The kinds are speed, memory, papers and experiments.
"""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import experiments
from benchmarks.harness import publish
from danlu.catalogue import EXPERIMENTS

SPEED = {
    "startup": "benchmarks.speed.startup",
    "overhead": "benchmarks.speed.overhead",
    "stream": "benchmarks.speed.stream",
    "vae": "benchmarks.speed.vae",
    "fid": "benchmarks.speed.fid",
    "recurrent": "benchmarks.speed.recurrent",
    "language": "benchmarks.speed.language",
    "classifier": "benchmarks.speed.classifier",
    "dcgan": "benchmarks.speed.dcgan",
    "csv": "benchmarks.speed.csv_file",
    "pixelcnn": "benchmarks.speed.pixelcnn",
    "wgan-gp": "benchmarks.speed.wgan_gp",
    "maf": "benchmarks.speed.maf",
    "flows": "benchmarks.speed.flows",
    "hopfield": "benchmarks.speed.hopfield",
    "rbm": "benchmarks.speed.rbm",
}
PAPERS = {
    "cifar-gans": "benchmarks.papers.cifar_gans",
    "digits": "benchmarks.papers.digits",
    "gans": "benchmarks.papers.gans",
    "images": "benchmarks.papers.images",
    "inpainting": "benchmarks.papers.inpainting",
    "mnist-density": "benchmarks.papers.mnist_density",
    "modes": "benchmarks.papers.modes",
    "ptb": "benchmarks.papers.ptb",
    "rbm-features": "benchmarks.papers.rbm_features",
    "rbm-mnist": "benchmarks.papers.rbm_mnist",
    "semi": "benchmarks.papers.semi",
    "vae": "benchmarks.papers.vae",
}
MEMORY = {"folder": "benchmarks.memory.folder"}
KINDS = {"speed": SPEED, "memory": MEMORY, "papers": PAPERS, "experiments": dict.fromkeys(EXPERIMENTS, "")}


def main(words: list[str]) -> int:
    """Run the benchmarks that are named, or all of a kind.

    Returns:
        1 if a target is not met or a verdict depends on the seed, else 0; 2 for wrong words.
    """
    write, words = "--write" in words, [word for word in words if word != "--write"]
    if not words or words[0] not in KINDS or set(words[1:]) - KINDS[words[0]].keys():
        for kind, known in KINDS.items():
            print(f"python -m benchmarks {kind} [{' '.join(known)}]", file=sys.stderr)
        return 2
    known = KINDS[words[0]]
    if words[0] == "experiments":
        same = [experiments.run(name, write) for name in words[1:] or known]
        return 0 if all(same) else 1
    met = [publish(import_module(known[name]).run(), write) for name in words[1:] or known]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
