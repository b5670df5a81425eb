"""The generated text of a report is what the model continues the held-out text with."""

import torch

from danlu.app.report.sections.text import PROMPT, written
from danlu.recipes import build
from danlu.sampling.decoding.generate import SamplingOptions
from examined import tiny


def test_a_text_is_the_beginning_of_the_part_and_its_continuation():
    built = build(tiny("lstm-lm"))
    model, part = built.task.model.eval(), built.data.test
    begin, rest = written(model, part, tokens=7, temperature=0.5)
    prompt = part.fields["token"][:PROMPT].long()
    assert begin == model.tokenizer.decode(prompt.tolist())
    continued = model.complete(prompt[None], 7, SamplingOptions(0.5))[0].tolist()
    assert continued[:PROMPT] == prompt.tolist()
    assert len(continued) == PROMPT + 7
    assert begin + rest == model.tokenizer.decode(continued)
    assert torch.equal(model.complete(prompt[None], 7, SamplingOptions(0.5)), torch.tensor([continued]))
