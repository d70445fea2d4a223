"""An export as a program for other software: ``torch.export`` and ONNX, each checked against the network, and the contract that says what goes in and what comes out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.backbones.transform import Transform
from lt_bench.core.errors import FAILURES_OF_CODE, UserError
from lt_bench.deploy.calibration import Calibration

EXACT = 1e-5
"""Largest difference of a probability between a program and the network."""


def save_program(network: nn.Module, example: Tensor, path: Path, temperature: float = 1.0) -> None:
    """The network as a torch.export program for any batch size.

    Args:
        network: in eval mode.
        example: two inputs.
        path: of the file.
        temperature: of the probabilities that are compared.

    Raises:
        UserError: it cannot be a program, or one that does not give what the network gives.
    """
    with torch.no_grad():
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except FAILURES_OF_CODE as error:
            raise _refused("a program of torch.export", error) from None
        _check("torch.export", network, program.module(), example, temperature)
        torch.export.save(program, path)


def save_onnx(network: nn.Module, example: Tensor, path: Path, temperature: float = 1.0) -> None:
    """The network as an ONNX file for any batch size; as ``save_program``."""
    import onnxruntime

    try:
        torch.onnx.export(
            network, (example,), path, input_names=["input"], output_names=["logits"], dynamo=True, external_data=False, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (*FAILURES_OF_CODE, OSError) as error:
        raise _refused("ONNX", error) from None
    _check("ONNX", network, lambda inputs: torch.from_numpy(session.run(["logits"], {"input": inputs.numpy()})[0]), example, temperature)


def require_onnx() -> None:
    """The packages of ONNX are there.

    Raises:
        UserError: names those that are missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx needs {', '.join(missing)}; `pip install 'lt-bench[onnx]'` installs them")


def contract(dim: int, example: Tensor, transform: Transform | None, calibration: Calibration | None) -> dict[str, Any]:
    """Inputs and outputs of the programs, and how ``predict`` makes probabilities of these.

    Args:
        dim: D.
        example: of the inputs.
        transform: of images; None for features.
        calibration: of the export.
    """
    values = f"features of {dim} numbers, as they come from the backbone" if transform is None else "RGB, 0 to 1, not normalised"
    preparation = None if transform is None else transform.words.rpartition("; mean")[0]
    of_prior = "softmax(logits / bias_corrected.temperature + bias_corrected.shift + log(p) - log(prior)), 0 where prior is 0; names are those of 'calibration'"
    return {
        "input": {
            "name": "input",
            "dtype": "float32",
            "shape": ["batch", *example.shape[1:]],
            "values": values,
            "preparation": preparation,
        },
        "output": {"name": "logits", "dtype": "float32", "shape": ["batch", "classes"], "values": "of the head, before calibration"},
        "probabilities": "softmax(logits)" if calibration is None else "softmax(logits / calibration.temperature)",
        "probabilities_under_a_prior_p": None if calibration is None else of_prior,
    }


def _check(name: str, network: nn.Module, program: Callable[[Tensor], Tensor], example: Tensor, temperature: float) -> None:
    inputs = torch.cat([example, example.flip(0)[:1]])
    with torch.no_grad():
        expected, actual = ((of(inputs).double() / temperature).softmax(1) for of in (network, program))
    if not (difference := float((expected - actual).abs().max())) <= EXACT:
        raise UserError(f"a probability of the {name} program differs from the network's by {difference:.2g}; nothing was written")


def _refused(form: str, error: Exception) -> UserError:
    return UserError(f"the classifier cannot be written as {form} ({' '.join(str(error).split())[:200]}); nothing was written")
