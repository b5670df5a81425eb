"""The verbs of the command line and what each is for."""

VERBS = {
    "list": "the recipes",
    "show": "a recipe as YAML, every value filled in",
    "check": "a recipe file, and say everything that is wrong with it",
    "summary": "the layers of a recipe's model",
    "data": "what a data set, a folder of images or a table looks like, and what is wrong with it",
    "train": "a recipe by name, or a recipe file",
    "resume": "a run that was stopped or killed",
    "evaluate": "a finished run on held-out data",
    "classify": "image files with a finished run",
    "sample": "draw examples from a finished run: pictures, or rows of a table",
    "reconstruct": "files, passed through the code of a model and back",
    "interpolate": "a walk from one file to another, or from one sample to another",
    "arithmetic": "add and subtract the codes of samples",
    "inpaint": "fill in what is missing of pictures or of rows",
    "score": "how likely files are: log-likelihood, or a lower bound of it",
    "score-images": "how good generated images are, of whatever origin, beside a data set: FID and others",
    "export": "a finished model as ONNX or as plain weights",
    "experiment": "run a claim of the notes small, and judge it; without a name, list them",
    "doctor": "what this machine has",
    "completion": "a script that completes danlu's words in your shell",
}
