from danlu.app.experiments.runner import experiment as experiment
from danlu.app.export.export import export as export
from danlu.app.inference.classify import classify as classify
from danlu.app.inference.complete import complete as complete
from danlu.app.inference.denoise import denoise as denoise
from danlu.app.inference.inpaint import inpaint as inpaint
from danlu.app.inference.interpolate import interpolate as interpolate
from danlu.app.inference.latent_arithmetic import arithmetic as arithmetic
from danlu.app.inference.load import load as load
from danlu.app.inference.predict import predict as predict
from danlu.app.inference.recall import recall as recall
from danlu.app.inference.reconstruct import reconstruct as reconstruct
from danlu.app.inference.sample import sample as sample
from danlu.app.inspect.dataset_survey import survey as survey
from danlu.app.inspect.environment import doctor as doctor
from danlu.app.run_folder.run_list import runs as runs
from danlu.app.runs.end import finish as finish
from danlu.app.runs.inspect_recipe import check as check
from danlu.app.runs.inspect_recipe import show as show
from danlu.app.runs.inspect_recipe import summary as summary
from danlu.app.runs.train import resume as resume
from danlu.app.runs.train import train as train
from danlu.app.scoring.evaluate import evaluate as evaluate
from danlu.app.scoring.image_quality import score_images as score_images
from danlu.app.scoring.likelihood import score as score

__version__: str
