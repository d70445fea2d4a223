"""Synthetic checkpoints in exactly the layouts of the official code, with small encoders, and what their own forward pass gives.

Every builder returns (content to save, function from images to the logits that the official code computes).
"""

import torch
import torch.nn.functional as F
from torch import nn

from lt_bench.backbones.registry import build_backbone

K = 7


def normed(features, weight, s):
    """NormedLinear of the LDAM code: weight (D, K), both sides of unit length."""
    return s * F.normalize(features, dim=1).mm(F.normalize(weight, dim=0))


def network(name="resnet20", seed=0):
    """An encoder in eval mode with statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    net = build_backbone(name, K).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def plain(net):
    """The encoder's tensors under the names of the official files."""
    return {key.removeprefix(net.encoder_prefix): t for key, t in net.state_dict().items() if not key.startswith("fc.")}


def under(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


def mlp(prefix, *positions):
    return {f"{prefix}.{i}.{name}": torch.randn(3) for i in positions for name in ("weight", "bias")}


def saved(state, **more):
    return {"epoch": 3, "arch": "resnet", "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, **more}


def decoupling():
    net = network()
    content = {
        "state_dict_best": {
            "feat_model": under("module.", plain(net)),
            "classifier": {"module.fc.weight": net.fc.weight, "module.fc.bias": net.fc.bias},
        },
        "state_dict": {"feat_model": under("module.", plain(network(seed=9))), "classifier": {}},
        "best_acc": 0.5,
    }
    return content, net


def mislas():
    net = network()
    content = {
        "epoch": 1, "state_dict_model": under("module.", plain(net)), "best_acc1": torch.tensor(40.0), "its_ece": 10.0,
        "state_dict_classifier": {"module.fc.weight": net.fc.weight, "module.fc.bias": net.fc.bias},
    }  # fmt: skip
    return content, net


def ldam():
    net = network()
    return saved(
        under("module.", plain(net) | {"linear.weight": net.fc.weight, "linear.bias": net.fc.bias}), best_acc1=torch.tensor(1.0)
    ), net


def ldam_cosine():
    net, weight = network(), torch.randn(64, K)
    return saved(plain(net) | {"linear.weight": weight}), lambda x: normed(net.features(x), weight, 30)


def paco():
    net = network()
    state = under("encoder_q.", plain(net)) | mlp("encoder_q.fc", 0, 1, 3) | under("encoder_k.", plain(network(seed=1)))
    state |= mlp("encoder_k.fc", 0, 1, 3) | {"linear.weight": net.fc.weight, "linear.bias": net.fc.bias}
    state |= {"linear_k.weight": torch.randn(K, 64), "linear_k.bias": torch.randn(K)}
    state |= {"queue": torch.randn(16, 8), "queue_l": torch.zeros(16), "queue_ptr": torch.zeros(1)}
    return saved(under("module.", state), acc=12.0), net


def gpaco():
    net = network()
    state = under("encoder_q.", plain(net)) | mlp("encoder_q.fc", 0, 2, 4) | {"linear.weight": net.fc.weight, "linear.bias": net.fc.bias}
    return saved(under("module.", state | {"queue": torch.randn(16, 8), "queue_l": torch.zeros(16), "queue_ptr": torch.zeros(1)})), net


def bcl():
    net, weight = network("torchvision.resnet18"), torch.randn(512, K)
    state = under("encoder.", plain(net)) | mlp("head", 0, 1, 3) | mlp("head_fc", 0, 1, 3) | {"fc.weight": weight}
    return saved(under("module.", state), best_acc1=torch.tensor(57.2)), lambda x: normed(net.features(x), weight, 30)


class ProCoLoss(nn.Module):
    """Stands for loss.proco.ProCoLoss, which is pickled with the checkpoint."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(K, 8))


def proco():
    net = network()
    state = under("encoder.", plain(net)) | mlp("head", 0, 1, 3) | {"fc.weight": net.fc.weight, "fc.bias": net.fc.bias}
    return saved(under("module.", state), criterion_scl=ProCoLoss(), best_many=70.0), net


def proco_cosine():
    net, weight = network("torchvision.resnet18"), torch.randn(512, K)
    state = under("encoder.", plain(net)) | mlp("head", 0, 1, 3) | {"fc.weight": weight}
    return saved(under("module.", state), criterion_scl=ProCoLoss()), lambda x: normed(net.features(x), weight, 30)


def gml():
    net, weight = network(), torch.randn(64, K)
    state = under("encoder_q.", plain(net)) | {"encoder_q.fc.weight": weight} | under("encoder_k.", plain(network("resnet32", 1)))
    state |= {"encoder_k.fc.weight": torch.randn(64, K)} | mlp("embed_q", 0, 1, 3) | mlp("embed_k", 0, 1, 3)
    state |= {"queue_k": torch.randn(9, 64), "queue_l": torch.zeros(9), "queue_i": torch.zeros(9), "queue_ptr": torch.zeros(K)}
    return saved(state, criterion={"log_T_c": torch.zeros(1)}, acc=1.0), lambda x: normed(net.features(x), weight, 30)


def ncl(cosine=None, moco=False, prefix="module."):
    nets = [network(seed=seed) for seed in range(3)]
    state = {}
    for i, net in enumerate(nets):
        state |= under(f"backbone.{i}.", plain(net))
        name = "classifier_ce" if moco else "classifier"
        state |= {f"{name}.{i}.weight": net.fc.weight, f"{name}.{i}.bias": net.fc.bias}
        if moco:
            state |= (
                mlp(f"classifier.{i}", 0, 2) | under(f"backbone_MA.{i}.", plain(network(seed=8))) | {f"MOCO.{i}.queue": torch.randn(8, 4)}
            )

    def logits(x):
        outputs = []
        for net in nets:
            features = net.features(x)
            if cosine:
                unit, rows = features / features.norm(dim=1, keepdim=True), net.fc.weight / net.fc.weight.norm(dim=1, keepdim=True)
                outputs.append(unit @ (cosine * rows.T) + net.fc.bias)
            else:
                outputs.append(net.fc(features))
        return torch.stack(outputs).mean(0)

    return {"state_dict": under(prefix, state), "epoch": 2, "best_result": 0.5}, logits


class ConfigParser:
    """Stands for RIDE's parse_config.ConfigParser, pickled with paths inside."""

    def __init__(self):
        from pathlib import PurePosixPath

        self._config, self.resume = {"name": "RIDE"}, PurePosixPath("/home/someone/saved")


def ride(prefix="module.backbone."):
    """Three experts of shared first stages and thin last ones."""
    nets = [network("variant.resnet32_thin", seed) for seed in range(3)]
    shared = ("conv1.", "bn1.", "layer1.")
    for net in nets[1:]:
        net.load_state_dict({key: t for key, t in nets[0].state_dict().items() if key.startswith(shared)}, strict=False)
    weights = [torch.randn(48, K) for _ in nets]
    state = {key: t for key, t in plain(nets[0]).items() if key.startswith(shared)}
    for i, (net, weight) in enumerate(zip(nets, weights, strict=True)):
        own = plain(net)
        state |= {
            key.replace(f"layer{s}.", f"layer{s}s.{i}.", 1): t for s in (2, 3) for key, t in own.items() if key.startswith(f"layer{s}.")
        }
        state[f"linears.{i}.weight"] = weight
    content = saved(under(prefix, state), config=ConfigParser(), monitor_best=0.4, criterion=nn.CrossEntropyLoss())
    return content, lambda x: torch.stack([normed(net.features(x), w, 30) for net, w in zip(nets, weights, strict=True)]).mean(0)


def ssd():
    net = network("torchvision.resnet18")
    state = under("encoder_q.", plain(net)) | under("encoder_t.", plain(network("torchvision.resnet18", 1)))
    state |= {"classifier.weight": torch.randn(K, 512), "classifier.bias": torch.randn(K)}
    state |= {"classifier_kd.weight": net.fc.weight, "classifier_kd.bias": net.fc.bias}
    state |= {"classifier_t.fc.weight": torch.randn(K, 512), "classifier_t.scales": torch.ones(K)}
    return saved(under("module.", state), best_acc1=torch.tensor(55.4)), net


def weight_balancing():
    net = network("resnet34")
    return under("encoder.", plain(net) | {"fc.weight": net.fc.weight, "fc.bias": net.fc.bias}), net


# Source, builder, encoder to put in the place of the map's where the official one is large, data set.
LAYOUTS = {
    "decoupling": ("decoupling", decoupling, "resnet20", "imagenet_lt"),
    "mislas": ("mislas", mislas, "resnet20", "cifar100_lt"),
    "ldam": ("ldam", ldam, None, "cifar100_lt"),
    "ldam with its cosine head": ("ldam", ldam_cosine, None, "cifar100_lt"),
    "paco": ("paco", paco, "resnet20", "imagenet_lt"),
    "gpaco": ("gpaco", gpaco, "resnet20", "imagenet_lt"),
    "bcl": ("bcl", bcl, "torchvision.resnet18", "imagenet_lt"),
    "proco on CIFAR": ("proco", proco, "resnet20", "cifar100_lt"),
    "proco on ImageNet-LT": ("proco", proco_cosine, "torchvision.resnet18", "imagenet_lt"),
    "gml": ("gml", gml, "resnet20", "cifar100_lt"),
    "ncl on CIFAR": ("ncl", ncl, "resnet20", "cifar100_lt"),
    "ncl on ImageNet-LT, momentum": ("ncl", lambda: ncl(16, moco=True), "resnet20", "imagenet_lt"),
    "ncl on iNaturalist": ("ncl", lambda: ncl(32, prefix=""), "resnet20", "inat2018"),
    "ride": ("ride", ride, None, "cifar100_lt"),
    "ride on one device": ("ride", lambda: ride("backbone."), None, "cifar100_lt"),
    "ssd": ("ssd", ssd, "torchvision.resnet18", "imagenet_lt"),
    "weight balancing": ("weight_balancing", weight_balancing, None, "cifar100_lt"),
}
