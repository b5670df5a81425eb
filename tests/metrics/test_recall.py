import torch

from danlu.metrics import overlaps, recalled


def test_overlap_and_exact_recall_by_hand():
    patterns = torch.tensor([[[1.0, -1.0], [1.0, 1.0]], [[1.0, -1.0], [1.0, 1.0]], [[-1.0, -1.0], [1.0, 1.0]]])
    states = torch.tensor([[[1.0, -1.0], [1.0, 1.0]], [[1.0, 1.0], [-1.0, 1.0]], [[-0.2, -1.0], [1.0, 1.0]]])
    torch.testing.assert_close(overlaps(states, patterns), torch.tensor([1.0, 0.0, 0.8]))
    assert recalled(states, patterns).tolist() == [True, False, True]
    assert overlaps(-states, patterns)[0] == -1
