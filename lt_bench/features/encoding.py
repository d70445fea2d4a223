"""Features in their stored types: float16, float32, or 8-bit codes; and how much of them a type loses. By chunks, without another copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lt_bench.features.moments import Moments, chunks, typical

DTYPES = {"float16": torch.float16, "float32": torch.float32}
LEVELS = 255


def encode_affine8(features: Tensor, standard: Moments | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit codes of features (N, D), standardised first where moments are given: ``(codes uint8 (N, D), scale (D,), offset (D,))``, error at most half a step."""
    bounds = [(rows.amin(0), rows.amax(0)) for _, chunk in chunks(features) for rows in (_float32(chunk, standard),)]
    low, high = torch.stack([lowest for lowest, _ in bounds]).amin(0), torch.stack([highest for _, highest in bounds]).amax(0)
    scale = ((high - low) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
    codes = torch.empty(features.shape, dtype=torch.uint8)
    for run, chunk in chunks(features):
        codes[run] = ((_float32(chunk, standard) - low) / scale).round_().clamp_(0, LEVELS).to(torch.uint8)
    return codes, scale, low


def decode_affine8(codes: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Inverse of ``encode_affine8``, float16 (N, D)."""
    return torch.addcmul(offset, codes.float(), scale).half()


def encode(dtype: str, name: str, features: Tensor, standard: Moments | None = None) -> dict[str, Tensor]:
    """Features (N, D) as they are stored under ``name``: one array, or for ``affine8`` the codes with scale and offset beside them.

    Args:
        dtype: float16, float32 or affine8.
        name: of the array.
        features: of any floating-point type.
        standard: moments to standardise them by, if at all.
    """
    if dtype == "affine8":
        parts = encode_affine8(features, standard)
        return {name: parts[0], f"{name}.scale": parts[1], f"{name}.offset": parts[2]}
    stored = DTYPES[dtype]
    if standard is None:
        return {name: features.to(stored).contiguous()}
    values = torch.empty(features.shape, dtype=stored)
    for run, chunk in chunks(features):
        values[run] = standard.standardised(chunk).to(stored)
    return {name: values}


def round_trip(name: str, features: Tensor, stored: Mapping[str, Tensor], standard: Moments | None = None) -> Tensor:
    """Error (D,) of stored features, float64: ``moments.typical`` of their differences from ``features``, standardised where moments are given."""
    if stored[name].dtype == features.dtype and standard is None:
        return torch.zeros(features.shape[1], dtype=torch.float64)
    coding = [stored[f"{name}.{part}"] for part in ("scale", "offset")] if f"{name}.scale" in stored else []

    def differences() -> Iterator[Tensor]:
        for run, chunk in chunks(features):
            source = chunk if standard is None else standard.standardised(chunk)
            values = decode_affine8(stored[name][run], *coding) if coding else stored[name][run]
            yield values.to(torch.promote_types(source.dtype, torch.float32)) - source

    return typical(differences(), len(features))


def _float32(chunk: Tensor, standard: Moments | None) -> Tensor:
    return chunk.float() if standard is None else standard.standardised(chunk)
