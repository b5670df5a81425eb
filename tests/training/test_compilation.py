"""What is compiled, and optimizers without the compiler; that it is not loaded is in test_imports.py."""

import sys

import torch
from torch import nn

from danlu.training import compile_modules
from danlu.training.compilation import compiler_not_loaded


def test_optimizers_are_left_as_torch_made_them():
    methods = [vars(torch.optim.Optimizer)[name].__wrapped__ for name in ("add_param_group", "state_dict")]
    with compiler_not_loaded():
        torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1).state_dict()
    assert all(getattr(method, "__dynamo_disable", None) is not method for method in methods)


def test_a_compiler_that_is_loaded_is_left_alone(monkeypatch):
    """Its own exclusion of the methods stays."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys)
    method = vars(torch.optim.Optimizer)["state_dict"].__wrapped__
    before = dict(vars(method))
    with compiler_not_loaded():
        assert dict(vars(method)) == before
    assert dict(vars(method)) == before


def test_a_method_that_is_excluded_already_stays_excluded(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    method, mark = vars(torch.optim.Optimizer)["state_dict"].__wrapped__, object()
    monkeypatch.setattr(method, "__dynamo_disable", mark, raising=False)
    with compiler_not_loaded():
        assert vars(method)["__dynamo_disable"] is mark
    assert vars(method)["__dynamo_disable"] is mark


def test_a_part_that_stays_eager_is_excluded_once_for_each_place_and_the_whole_is_compiled():
    class Loop(nn.Module):
        excluded = 0

        def stay_eager(self):
            self.excluded += 1

    whole = nn.Sequential(nn.Linear(2, 2), Loop())
    compile_modules([whole])
    assert whole[1].excluded == 1
    assert whole._compiled_call_impl is not None
    assert whole[0]._compiled_call_impl is None
