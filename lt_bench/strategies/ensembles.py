"""Ensembles of strategies: their names, and the hyper-parameters of their members. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion

ENSEMBLE = "ensemble"


class Named(Protocol):
    """A member of an ensemble: an entry of the registry, used for its name and types."""

    @property
    def name(self) -> str:
        """Name of the strategy."""
        ...

    def types(self) -> dict[str, Any]:
        """The type of every hyper-parameter."""
        ...


def members_in(name: str) -> list[str]:
    """The members that ``ensemble(los+crt)`` names; empty for the name of another strategy.

    Raises:
        UserError: fewer than two members, or an ensemble among them.
    """
    first, _, rest = name.strip().partition("(")
    if first.strip().lower() != ENSEMBLE:
        return []
    members = [part.strip() for part in rest.removesuffix(")").split("+") if part.strip()]
    if len(members) < 2 or not rest.endswith(")"):
        raise UserError(f"{name}: an ensemble names two strategies or more, e.g. {ENSEMBLE}(los+crt)")
    if nested := [one for one in members if one.startswith(ENSEMBLE)]:
        raise UserError(f"{name}: {nested[0]} is an ensemble itself; name its members instead")
    return members


def types(members: Sequence[Named]) -> dict[str, Any]:
    """The type of every hyper-parameter of the members, which is called ``los_lr``.

    Raises:
        UserError: hyper-parameters of two members would have the same name.
    """
    table: dict[str, Any] = {}
    for member in members:
        for key, kind in member.types().items():
            if f"{member.name}_{key}" in table:
                raise UserError(f"{ENSEMBLE}: two members have a hyper-parameter {member.name}_{key}; give one of the classes another name")
            table[f"{member.name}_{key}"] = kind
    return table


def parts(members: Sequence[Named], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hyper-parameters of each member among those of the ensemble."""
    return [{key: given[f"{member.name}_{key}"] for key in member.types() if f"{member.name}_{key}" in given} for member in members]


def joined(members: Sequence[Named], of_members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Hyper-parameters of the ensemble, made of those of each member."""
    return {f"{member.name}_{key}": value for member, own in zip(members, of_members, strict=True) for key, value in own.items()}


def check_names(name: str, members: Sequence[Named], given: dict[str, Any]) -> None:
    """Refuse a hyper-parameter that no member has.

    Raises:
        UserError: the message has a suggestion.
    """
    known = types(members)
    if unknown := [key for key in given if key not in known]:
        raise UserError(
            f"{name} has no hyper-parameter {unknown[0]!r}{suggestion(unknown[0], known)}; those of a member are called {next(iter(known))}"
        )
