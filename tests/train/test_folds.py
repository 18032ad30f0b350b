"""In training, pi comes from a prior that has not seen the case."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose
from torch import Tensor, nn

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.train.data import Batches, TrainCase
from napari_pgrd.train.folds import CasePriors, Fold, PriorProbabilities


class Always(nn.Module):
    """Logits that name the prior: a lead for one class, everywhere."""

    def __init__(self, lead: float) -> None:
        super().__init__()
        self.lead = lead

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(image), torch.full_like(image, self.lead)], 1)


def prior(lead: float) -> PriorProbabilities:
    return PriorProbabilities(Always(lead), 1.0, torch.device("cpu"))


def leads(pi: Tensor) -> list[float]:
    """What each case's prior answered."""
    return [round(float((p[1] / p[0]).log().mean()), 4) for p in pi]


def test_each_case_gets_a_prior_that_has_not_seen_it() -> None:
    folds = [Fold(prior(1.0), frozenset("ab")), Fold(prior(2.0), frozenset("cd"))]
    pi_of = CasePriors(prior(5.0), folds, "abcd")
    image = torch.zeros(4, 1, 3, 3)
    assert leads(pi_of(image, "cabd")) == [1.0, 2.0, 2.0, 1.0]
    assert leads(CasePriors(prior(5.0))(image, "cabd")) == [5.0] * 4


def test_priors_that_have_not_seen_a_case_share_them_out() -> None:
    pi_of = CasePriors(prior(5.0), [Fold(prior(1.0), frozenset()), Fold(prior(2.0), frozenset())], "abcd")
    assert leads(pi_of(torch.zeros(4, 1, 3, 3), "abcd")) == [1.0, 2.0, 1.0, 2.0]


def test_a_case_that_every_prior_has_seen_is_named() -> None:
    with pytest.raises(InputError, match="was trained on b"):
        CasePriors(prior(5.0), [Fold(prior(1.0), frozenset("ab")), Fold(prior(2.0), frozenset("bc"))], "abc")


def test_the_names_of_a_batch_are_of_the_cases_it_is_cut_from() -> None:
    shape = (8, 8, 8)
    cases = [
        TrainCase(f"c{i}", torch.full((1, *shape), float(i)), torch.zeros((1, *shape), dtype=torch.uint8))
        for i in range(5)
    ]
    batches = Batches(cases, 2, PrepareSpec(patch=shape, stride=4), 2, 0, ())
    batches.transform = Compose([])  # whole and as they are
    for step in range(6):
        image, _ = batches(step)
        assert [f"c{round(float(one.mean()))}" for one in image] == batches.names(step)
