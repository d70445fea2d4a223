"""Formulas, papers and links of `make site`; the site itself is built by `.github/workflows/site.yml`, which ends at a broken link."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))
from formulas import in_prose, is_formula, mathml
from links import outside, page_of, rewritten
from papers import code_links, entry_of

from lt_bench.strategies.registry import find, strategy_names


def drawn(text):
    """The text of the elements of a formula, with ``a/b`` for a fraction, ``_`` for what is below and ``^`` for what is above."""
    tree = ElementTree.fromstring(mathml(text))

    def shown(one):
        kind, parts = one.tag.split("}")[-1], [shown(part) for part in one]
        if kind == "mfrac":
            return "{{{}}}/{{{}}}".format(*parts)
        if kind in ("msub", "msup"):
            return f"{parts[0]}{'_' if kind == 'msub' else '^'}{{{parts[1]}}}"
        if kind == "msubsup":
            return f"{parts[0]}_{{{parts[1]}}}^{{{parts[2]}}}"
        if kind == "msqrt":
            return f"root{{{''.join(parts)}}}"
        return "".join(parts) if parts else one.text or " " * (kind == "mspace")

    return shown(tree).replace("\N{MINUS SIGN}", "-").replace("\N{PRIME}", "'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z_c + tau log pi_c", "z_{c}+τ log π_{c}"),
        ("w_c = (1 - beta) / (1 - beta^n_c)", "w_{c}={1-β}/{1-β^{n_{c}}}"),
        ("l_i = -log(exp(z_y) / sum_k w_ik exp(z_k))", "l_{i}=-log({exp(z_{y})}/{∑_{k} w_{ik} exp(z_{k})})"),
        ("z_ic = w_c h_i / ||w_c||^tau", "z_{ic}=w_{c} {h_{i}}/{‖w_{c}‖^{τ}}"),
        ("m_c = max_margin (n_min / n_c)^(1/4)", "m_{c}=max_{margin}({n_{min}}/{n_{c}})^{{1}/{4}}"),
        ("z'_c = a_c z_c + b_c ||w_c||", "z^{'}_{c}=a_{c} z_{c}+b_{c} ‖w_{c}‖"),
        ("sqrt(K / (K - 1)) (z_c - mean z)", "root{{K}/{K-1}} (z_{c}-mean z)"),
        ("n_c^-balance", "n_{c}^{-balance}"),
        ("(w_c - w_y)^T S (w_c - w_y)", "(w_{c}-w_{y})^{T} S (w_{c}-w_{y})"),
        ("w_c <- w_c * min(1, r / ||w_c||)", "w_{c}←w_{c}·min(1,{r}/{‖w_{c}‖})"),
    ],
)
def test_a_formula_is_drawn_as_it_is_meant(text, expected):
    assert is_formula(text)
    assert drawn(text) == expected


@pytest.mark.parametrize(
    "text", ["main_stage2.py", "lr_factor * lr", "train_cls=True", 'weight="balanced"', "prototype_la", "epsilon", "(a", "a / ", "x_"]
)
def test_code_stays_code(text):
    assert not is_formula(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has q_y = 1 - epsilon + epsilon / K and\nepsilon / K elsewhere", ["q_y = 1 - epsilon + epsilon / K", "epsilon / K"]),
        ("(e ~ N(0, 1/9) with the largest), p = softmax(z_i), and", ["e ~ N(0, 1/9)", "p = softmax(z_i)"]),
        (
            "one radius r = min ||w|| + threshold * (max ||w|| - min ||w||) of the rows.",
            ["r = min ||w|| + threshold * (max ||w|| - min ||w||)"],
        ),
        ("up to pi_min^-tau and f = sin(pi x / 2) (`concave`)", ["pi_min^-tau", "f = sin(pi x / 2)"]),
        ("a class-balanced n-th head, many / medium / few, tau 0 and K, 50-100, and/or, x / y.py, dvlab/MiSLAS", []),
        ("weight_decay - the loss = (1 / pi_c)^rho, z_c's, beta_ik 1, f(z_c, and so on)", []),
    ],
)
def test_formulas_of_prose_are_found_whole_or_not_at_all(text, expected):
    assert [text[start:end].replace("\n", " ") for start, end in in_prose(text)] == expected


def test_the_formula_of_every_strategy_is_drawn():
    for name in strategy_names():
        spans = [" ".join(span.split()) for span in re.findall(r"``(.+?)``", find(name).doc, re.DOTALL)]
        assert any(is_formula(span) for span in spans), f"{name}: none of {spans} is a formula"


def test_an_entry_has_what_the_source_states_and_no_more():
    source = "Sun et al., Label Over-Smooth Can Balance, ICLR 2025; code bilibili/LOS"
    for part in (
        "@inproceedings{sun2025label,",
        "author = {Sun and others}",
        "title = {{Label Over-Smooth Can Balance}}",
        "booktitle = {ICLR}",
        "year = {2025}",
    ):
        assert part in entry_of(source)
    assert entry_of("a control of ours, no paper") == ""
    assert "[bilibili/LOS](https://github.com/bilibili/LOS)" in code_links(source)


def test_links_lead_to_where_their_targets_are():
    assert rewritten("[a](docs/tutorial.md) [b](docs/strategies) [c](SECURITY.md#x) [d](https://e.org)", "README.md") == (
        "[a](tutorial.md) [b](strategies/README.md) [c](repository/SECURITY.md#x) [d](https://e.org)"
    )
    assert rewritten("[up](../README.md)\n```\n[no](../README.md)\n```", "docs/tutorial.md").startswith(
        "[up](index.md)\n```\n[no](../README.md)"
    )
    with pytest.raises(FileNotFoundError, match=r"docs/tutorial\.md links to nowhere\.md"):
        rewritten("[x](nowhere.md)", "docs/tutorial.md")


def test_every_link_of_every_page_has_a_target():
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")]
    assert "SECURITY.md" in outside([*pages, "README.md"])
    for path in [*pages, "README.md"]:
        rewritten((ROOT / path).read_text(encoding="utf-8"), path)
    assert page_of("examples") == "repository/examples/index.md"
