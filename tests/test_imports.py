"""Large packages are imported only where they are needed."""

import subprocess
import sys

LARGE = {"matplotlib", "sympy", "tokenizers", "torch._dynamo", "torch._inductor"}
WITHOUT_THEM = {
    "a data set of images": """
from danlu.data import digits
digits()
""",
    "text": """
from danlu.data.settings import DataSettings
DataSettings(data="pydoc").load()
import danlu.app.cli.main
""",
    "the check of a model without memory": """
from danlu.models.saving.shape_check import build_without_memory
from danlu.recipes import as_recipe
for name in ("sngan", "dcgan", "conditional-vae", "rnn-lm"):
    recipe = as_recipe(name, {"data": "pydoc" if name == "rnn-lm" else "digits"})
    info = recipe.load().info
    build_without_memory(lambda: recipe.task(info))
""",
    "training and resuming": """
import torch
from danlu.data.base.batch_stream import Shuffled
from danlu.data.base.dataset import Part
from danlu.tasks.supervised import Supervised
from danlu.training.optimization.settings import OptimizerSettings
from danlu.training.trainer import Trainer
part = Part({"x": torch.randn(8, 4), "label": torch.arange(8) % 2})
for name in ("sgd", "momentum", "rmsprop", "adamw", "muon"):
    nets = [torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)) for _ in "ab"]
    settings = OptimizerSettings(optimizer=name)
    first, second = (Trainer(Supervised(net, inputs="x"), settings, Shuffled(part, 4), rounds=2) for net in nets)
    list(first)
    second.load_state(first.state(), 2, 2)
""",
}
"""what is done, as code; one after the other in a fresh process, none of them imports a large package"""


def test_large_packages_are_not_imported_where_they_are_not_needed():
    code = f"""
import sys
for what, code in {WITHOUT_THEM!r}.items():
    exec(code, {{}})
    if imported := {LARGE!r} & sys.modules.keys():
        sys.exit(f"{{what}} imports {{sorted(imported)}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
