"""Refusals before torch is imported."""

import subprocess
import sys

MISTAKES = {
    "run --strategy los --dataset nope": "no data set is called 'nope'",
    "run --strategy nope --dataset cifar100_lt": "unknown strategy 'nope'",
    "run --strategy los --cache nope": "no cache 'nope'",
    "run --strategy los --dataset inat2018": "no feature cache of inat2018 is here",
    "run --strategy los --dataset cifar100_lt --imbalance-factor 10": "there is cifar100_lt-if100-resnet10s2 (imbalance factor 100",
    "run --strategy los --dataset folder --data-dir . --backbone resnet20": "--weights FILE is missing; weights of your own come from `lt-bench pretrain",
    "run --strategy los --dataset folder --data-dir . --backbone resnet_20": "did you mean resnet20?",
    "run --strategy los --dataset folder --data-dir . --backbone resnet_20 --weights x": "did you mean resnet20?",
    "run --strategy los --dataset imagenet_lt --data-dir . --backbone paco --weights x": "x: no such weights file of PaCo",
    "run --strategy los --dataset cifar100_lt --cache cifar100_lt-if100-resnet10s2 --backbone resnet20": "features of resnet10s2",
    "tune --strategy los --dataset nope": "no data set is called 'nope'",
    "choose --cache cifar100_lt-if100-resnet10s2 --out /dev/null/x": "cannot be written there (Not a directory); choose another place with --out",
    "extract --dataset folder --data-dir nowhere": "nowhere: no such place",
    "extract --dataset folder --data-dir . --backbone resnet18 --weights hub": "did you mean torchvision.resnet18?",
    "pretrain --dataset folder --data-dir . --backbone resnet-18": "did you mean torchvision.resnet18?",
    "pretrain --dataset folder --data-dir . --recipe lost": "did you mean los?",
    "pretrain --recipe.weight_decya 4e-4": "unknown option --recipe.weight_decya (did you mean '--recipe.weight_decay'?)",
    "pretrain --recipe.batch_size 1.5": "--recipe.batch_size: expected a whole number, got 1.5",
    "pretrain --dataset folder --data-dir . --backbone resnet20 --recipe.lr=-1": "lr is -1.0, expected a finite number >= 0",
    "pretrain --dataset folder --data-dir . --backbone resnet20 --recipe.decay 0.1": "recipe los has no steps to multiply the rate at",
    "pretrain --seed.more 1": "unknown option --seed.more",
    "run --strategy los --recipe.lr 1": "unknown option --recipe.lr",
    "export --record nope.json": "nope.json: no file of a record",
    "verify nope.json": "nope.json: no file of a record",
    "predict nope .": "nope: no such exported classifier",
}


def test_mistakes_that_need_no_torch(tmp_path):
    code = (
        "import sys\nfrom lt_bench.cli.main import main\n"
        "for line in sys.argv[1:]:\n    print(main(line.split()), 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *MISTAKES], capture_output=True, text=True, cwd=tmp_path, check=True)
    said = done.stderr
    for message in MISTAKES.values():
        assert message in said
    assert said.count("\n2 False\n") == len(MISTAKES)
