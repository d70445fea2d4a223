"""Scatter prototypes, alone and beside label over-smoothing: strategies of this suite."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.los import LOS
from lt_bench.strategies.slots.prototypes import ScatterPrototypes


class ScatterPrototypeHead(Strategy):
    """The stage-1 classifier on logits of equal spread, joined by prototypes that the scatter of all features whitens; closed form, no seed.

    ``z_c / (r^(1 - power) r_c^power) + mix v_c u / s - tau log pi_c``: r_c is the standard deviation of the stage-1 logit z_c on training images of other classes, r
    their mean; ``u = (g(h) - c) / ||g(h) - c||``, ``g(h) = sign(h) sqrt |h|``, c the mean of g(h); ``v_c = (S + ridge tr(S) / D I)^-1 mean_c(u)``, S the mean of u u';
    s is the mean over classes of the standard deviation of v_c u on images of other classes. c, S and the class means are over all training views. Without a
    stage-1 head its term is absent.

    ``prototype_la`` with a better second opinion: the square root evens out features that a few strong dimensions rule, and S takes off what all classes share.
    Not yet proven over backbones: the protocol that decides is in benchmarks/ours.
    """

    name = "scatter_prototypes"
    family = "logit adjustment"
    paper = "this suite; class means of Kang et al., ICLR 2020, adjustment of Menon et al., ICLR 2021"
    initial_head = "class_means"
    trains = "nothing"
    fitting = "none"
    selected_on_val = True
    grid = {"power": (0.0, 0.75), "mix": (0.25, 0.5, 1.0), "tau": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "ridge": (0.01, 0.03, 0.1)}

    power: float = hyper(0.75, low=0, high=2, help="of a class's own spread in what its stage-1 logits are divided by")
    mix: float = hyper(0.5, low=0, high=1e4, help="weight of the prototypes, in units of the spread of the logits")
    tau: float = hyper(0.8, low=0, high=10, help="strength of the prior that is taken off")
    ridge: float = hyper(0.1, low=1e-9, high=1e6, help="part of the mean variance that is added to the scatter")

    at_inference = ScatterPrototypes(0.0, "power", "mix", "tau", "ridge")


class LOSPrototypes(LOS):
    """LOS whose fitted head is joined by the stage-1 head and scatter prototypes.

    ``z_c / s + z0_c / (r^(1 - power) r_c^power) + mix v_c u / s' - tau log pi_c``: z are the logits that ``los`` ends with, s the mean over classes of their standard
    deviation on training images of other classes; z0, r, u, v, s' (called s there) and the rest are those of ``scatter_prototypes``.

    Not yet proven over backbones: the protocol that decides is in benchmarks/ours.
    """

    name = "los_prototypes"
    paper = "this suite; head of Sun et al., ICLR 2025"
    selected_on_val = True
    grid = {"epsilon": (0.9, 0.98), "lr": (5e-4, 1.5e-3), "mix": (0.25, 0.5, 1.0), "tau": (0.0, 0.2, 0.4, 0.6)}

    power: float = hyper(0.75, low=0, high=2, help="of a class's own spread in what its stage-1 logits are divided by")
    mix: float = hyper(0.25, low=0, high=1e4, help="weight of the prototypes, in units of the spread of the logits")
    tau: float = hyper(0.4, low=0, high=10, help="strength of the prior that is taken off")
    ridge: float = hyper(0.03, low=1e-9, high=1e6, help="part of the mean variance that is added to the scatter")

    at_inference = ScatterPrototypes(1.0, "power", "mix", "tau", "ridge")
