from .harness.criteria import Comparison as Comparison
from .harness.criteria import Criteria as Criteria
from .harness.experiment import Experiment as Experiment
from .harness.experiment import Outcome as Outcome
from .harness.experiment import Verdict as Verdict
from .harness.gan_on_digits import DigitsEvaluator as DigitsEvaluator
