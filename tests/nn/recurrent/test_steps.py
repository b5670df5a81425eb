"""The layout of packed sequences against rows that are written out."""

import pytest
import torch
from torch.nn.utils.rnn import pad_packed_sequence

from danlu.nn.recurrent.steps import Steps, align_rows, final_states, pack


@pytest.mark.parametrize("backwards", [False, True])
def test_previous_and_ends(backwards):
    lengths, start = [4, 2, 2, 1], torch.arange(4.0)[:, None] - 10
    rows = torch.arange(16.0).view(4, 4, 1)
    packed = pack(rows, lengths)
    steps = Steps(packed.batch_sizes.tolist(), backwards)
    previous = steps.previous(packed.data, start)
    found = pad_packed_sequence(packed._replace(data=previous), batch_first=True)[0]
    for row, length in enumerate(lengths):
        for t in range(length):
            other = t + 1 if backwards else t - 1
            expected = rows[row, other] if 0 <= other < length else start[row]
            assert torch.equal(found[row, t], expected)
    last = final_states(steps.split(packed.data))
    assert last[:, 0].tolist() == [float(rows[r, 0 if backwards else n - 1]) for r, n in enumerate(lengths)]


def test_rows_that_join_in_bring_what_they_start_with():
    last, start = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0, 7.0])
    assert align_rows(last, start, 1).tolist() == [1]
    assert align_rows(last, start, 3).tolist() == [1, 2, 7]
