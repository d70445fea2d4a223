"""``docs/strategies``: a page for every strategy, from its docstring and facts. ``python -m lt_bench.strategies.pages`` writes them."""

from __future__ import annotations

from pathlib import Path

from lt_bench.core.commands import word
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.hyper import type_name
from lt_bench.strategies.official import listed
from lt_bench.strategies.registry import find, strategy_names

INDEX = "README.md"
EXAMPLE = "ensemble(crt+los)"
"""The ensemble that the page of ensembles shows."""
NOT_BUILT = {
    "Class- and confidence-aware re-weighting (Jagati et al., 2026, arXiv 2601.15924)": "its weight Omega(p, f) could not be read: neither code nor the text of its formula was to be had",
    "Dual-branch heads with logit adjustment (2025)": "no paper or code of such a head for frozen features could be read",
    "Second stage on informative samples, IP-DPP (Lin and Yuan, 2025, arXiv 2510.08836)": "read (CASELabCode/Fudong-BNS-IPDPP 78a5ab7 `sampling/ip_dpp_smapler.py`): the kernel is the identity but for terms of the order 1 / n_c, "
    "and the code takes the first state of its chain, a uniformly random subset of 50 images a class; and it trains the network too",
    "Data-dependent temperatures, CVS (Wang et al., 2026)": "read (wang22ti/DDC 4bd4fb3 `utils/cvs_manager.py`): they are fitted to how often training predictions are right, which is nearly always where the backbone has memorised its images",
    "FSA (Chu et al., ECCV 2020)": "it exchanges positions of the last feature map by class activation, and a cache has pooled features; no official code",
    "Kernel discriminants": "tried as [lda](lda.md) of 2,048 random Fourier features (`python -m benchmarks.ours.random_features CACHE`): 42.0 on validation of the shipped features, "
    "and with a narrower kernel less, where lda itself has 42.9",
    "ARB loss by the class sizes of the training set": "it is [balanced_softmax](balanced_softmax.md), exactly; by those of the batch it is [arb](arb.md)",
}
"""Published heads that are not here, and why."""


def pages() -> dict[str, str]:
    """File name and text of every page, and of the index."""
    entries = [find(name) for name in strategy_names()]
    texts = {f"{entry.name}.md": page(entry) for entry in entries} | {"ensemble.md": page(find(EXAMPLE))}
    rows = [f"| [{e.name}]({e.name}.md) | {e.family} | {e.trains} | {_sampler(e)} | {_cell(e.summary)} |" for e in entries]
    controls = sum(entry.family == "control" for entry in entries)
    head = (
        f"# {len(entries) - controls} strategies and {controls} controls\n\nSome are equal by construction: `lort` and `los`, `pc_softmax` and `logit_adjustment`. Made from the source by `make docs`. The slots are those of the unified formula "
        "`l_i = w_i * kernel(T(z_i), q_i)`, `z_i = W h_i + b`.\n[Ensembles](ensemble.md) average any of them.\n\n| name | family | trains | sampler | |\n|---|---|---|---|---|\n"
    )
    left_out = "\n\n## Not here\n\n" + "\n".join(f"* {name}: {reason}." for name, reason in NOT_BUILT.items())
    return {**texts, INDEX: head + "\n".join(rows) + left_out + "\n"}


def page(entry: Entry) -> str:
    """One strategy: formula, differences between paper and code, hyper-parameters, command."""
    types = {h.name: type_name(h.type) for h in entry.hyperparameters}
    helps = {h.name: " ".join(filter(None, (h.help, h.range_text and f"({h.range_text})"))) for h in entry.hyperparameters}
    rows = [
        f"| `{name}` | {_cell(types.get(name, 'recipe'))} | `{value}` | {_cell(helps.get(name, ''))} |"
        for name, value in entry.resolve("").items()
    ]
    table = "\n".join(["| option | type | default | |", "|---|---|---|---|", *rows]) if rows else "It has no hyper-parameters."
    facts = [
        f"* family: {entry.family}" + ("; **inferred**: its formulas or constants could not be read" if entry.inferred else ""),
        f"* source: {entry.paper}",
        f"* trains {entry.trains}; sampler: {_sampler(entry)}; starts from: {entry.initial_head}",
        _listed("official settings", [*map(_cell, listed(entry.official))]),
        *(f"* on {dataset}: {settings}" for dataset, settings in entry.settings.items()),
        *([f"* tuning tries: {entry.grid}"] if entry.grid else []),
    ]
    composition = entry.as_composition
    said = (
        f"As a composition of [slots](../slots.md), with its defaults:\n\n{_console(composition)}"
        if composition
        else "[Slots](../slots.md) cannot say it: it is a class with methods of its own."
    )
    command = _console(f"lt-bench run --strategy {word(entry.name)} --dataset cifar100_lt")
    return "\n\n".join([f"# {entry.name}", _markdown(entry.doc), "\n".join(facts), table, command, said]) + "\n"


def _listed(title: str, parts: list[str]) -> str:
    """One part in a line, several as a list below it."""
    return f"* {title}: {parts[0]}" if len(parts) == 1 else "\n    * ".join([f"* {title}:", *parts])


def _console(command: str) -> str:
    return f"```console\n{command}\n```"


def write_pages(directory: Path) -> None:
    """Write every page; pages of strategies that are gone are removed."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = pages()
    for path in directory.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def _markdown(doc: str) -> str:
    """A docstring as Markdown: double backquotes single, the argument section as a list."""
    text, _, arguments = doc.replace("``", "`").partition("\nArgs:\n")
    lines = [
        f"* `{line.strip().partition(':')[0]}`:{line.partition(':')[2]}"
        for line in arguments.splitlines()
        if line.startswith("    ") and ":" in line
    ]
    lines = [line for line in lines if not line.startswith(("* `facts`", "* `recipe`"))]
    return text.strip() + ("\n\n" + "\n".join(lines) if lines else "")


def _sampler(entry: Entry) -> str:
    return entry.sampler if entry.fitting == "sgd" else "none"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    write_pages(Path("docs/strategies"))
