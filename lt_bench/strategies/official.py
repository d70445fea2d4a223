"""Sources of official hyper-parameters: released code, by repository, commit and file. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Official:
    """Official code whose settings a strategy has on one data set.

    Attributes:
        repository: ``owner/name`` on GitHub.
        commit: at which it was read, abbreviated.
        config: file that states the settings, within the repository, and options that its documentation adds.
        dataset: name of the data set here.
        imbalance_factor: imbalance factor of the configuration; None for data sets with a single one.
        differs: settings that differ here from the configuration, in words.
    """

    repository: str
    commit: str
    config: str
    dataset: str
    imbalance_factor: float | None = None
    differs: str = ""

    def holds_for(self, dataset: str, imbalance_factor: float | None) -> bool:
        """Whether the configuration is for this data set and imbalance factor."""
        return self.dataset == dataset and self.imbalance_factor in (None, imbalance_factor)

    def __str__(self) -> str:
        factor = "" if self.imbalance_factor is None else f" IF {self.imbalance_factor:g}"
        differs = f"; differs: {self.differs}" if self.differs else ""
        return f"{self.dataset}{factor}: {self.repository} @{self.commit} {self.config}{differs}"


def listed(official: tuple[Official, ...]) -> tuple[str, ...]:
    """A line for each configuration, or one line that says that there is none."""
    return tuple(map(str, official)) or ("no data set; the settings are inferred",)
