"""The average of several fitted heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from lt_bench.core.inference_heads import averaged
from lt_bench.strategies.contract import Strategy


class Ensemble(Strategy, abstract=True):
    """The plain average of the logits of several heads, each fitted by its own strategy.

    ``z_i = (z_i1 + ... + z_iM) / M``, z_im the logits of member m at inference. Every member is fitted as it would be alone: with its own loss, sampler, recipe and
    initial head, on the same features, at the same repetition. Linear members average to one linear head.

    The average is of logits as they are, as networks of several experts take it, neither of probabilities nor weighted: a member with larger logits counts more.

    Hyper-parameters are those of the members, under the name of the member: `los_lr`, `crt_epochs`. The identity of its record has the code of each.
    """

    family = "ensemble"
    paper = "logits of experts averaged as in Wang et al., RIDE, ICLR 2021; code frank-xwang/RIDE-LongTailRecognition ab8be5c model/ldam_drw_resnets/ride_resnet_cifar.py"
    initial_head = "none"
    trains = "what its members train"
    fitting = "solve"

    members: ClassVar[Sequence[tuple[Any, dict[str, Any]]]] = ()
    """Entry and hyper-parameters of each member, which are fitted before ``join``."""

    def join(self, members: Sequence[Strategy]) -> None:
        """Take the fitted members, strategies of one head each."""
        self.fitted = nn.ModuleList(member.inference_head() for member in members)
        self._parameters_of_members = sum(member.trained_parameters() for member in members)

    def inference_head(self) -> nn.Module:
        """The mean of the members' heads."""
        return averaged(list(self.fitted))

    def trained_parameters(self) -> int:
        """Number of fitted parameters of all members."""
        return self._parameters_of_members


def ensemble_of(name: str, members: Sequence[tuple[Any, dict[str, Any]]]) -> type[Ensemble]:
    """The class of an ensemble of strategies with all their hyper-parameters."""
    classes = [entry.class_for(hyperparameters)[0] for entry, hyperparameters in members]
    reads = any(one.reads_held_out() for one in classes)
    facts = {"name": name, "members": tuple(members), "trains_on_held_out": reads}
    return type("Ensemble", (Ensemble,), {"__doc__": Ensemble.__doc__, "__module__": __name__, **facts})
