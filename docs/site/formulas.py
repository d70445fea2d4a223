"""Formulas of the docstrings, such as ``z_c + tau log pi_c``, as MathML, which browsers draw without fonts or scripts of ours."""

from __future__ import annotations

import re
from html import escape

GREEK = {
    name: chr(code)
    for name, code in {
        "alpha": 0x3B1, "beta": 0x3B2, "gamma": 0x3B3, "Delta": 0x394, "epsilon": 0x3B5, "theta": 0x3B8, "kappa": 0x3BA, "lambda": 0x3BB,
        "mu": 0x3BC, "pi": 0x3C0, "rho": 0x3C1, "sigma": 0x3C3, "tau": 0x3C4,
    }.items()
}  # fmt: skip
RELATIONS = {
    "=": "=",
    "~": "∼",
    ">=": "≥",
    "<=": "≤",
    "<": "&lt;",
    ">": "&gt;",
    "<-": "←",
    "+": "+",
    "-": "−",
    "*": "·",
    ",": ",",
    ";": ";",
}
SUMS = {"sum": "∑", "mean": "mean"}
CLOSING = {"(": ")", "[": "]", "||": "||", "|": "|"}
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-z]+|\|\||>=|<=|<-|[-+*/=~<>,;()\[\]|_^'])")
_SPACE = "<mspace width='0.2em'/>"
_OPERATOR = re.compile(r" [-=+*/~] |\^|>= |_[a-z]")
_CODE = re.compile(r"\w=\w|\blr\b(?!.*theta)|^[a-z]+(_[a-z0-9]{2,})+$")


class NoFormulaError(ValueError):
    """A text is no formula of this notation."""


def is_formula(text: str) -> bool:
    """Whether a span of code is a formula: it has an operator or an index, and all of it can be read."""
    if not _OPERATOR.search(text) or _CODE.search(text):
        return False
    try:
        mathml(text)
    except NoFormulaError:
        return False
    return True


def mathml(text: str) -> str:
    """A ``<math>`` element; raises ``NoFormulaError`` for what is not written in the notation of the docstrings."""
    parser = _Parser(text)
    body = parser.sequence(None)
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" displaystyle="true" aria-label="{escape(text, quote=True)}">{body}</math>'


class _Parser:
    """Reads tokens from left to right; a sequence ends at the bracket that closes it."""

    def __init__(self, text: str) -> None:
        self.tokens, position = [], 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise NoFormulaError(text)
            self.tokens.append(match[1])
            position = match.end()
        self.at = 0

    def peek(self) -> str | None:
        """The next token, or None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        """The next token, which is read."""
        token = self.peek()
        if token is None:
            raise NoFormulaError("it ends too early")
        self.at += 1
        return token

    def sequence(self, closing: str | None) -> str:
        """Terms and operators up to ``closing``, which is not read; ``a / b`` becomes a fraction."""
        parts: list[str] = []
        while self.peek() != closing:
            token = self.peek()
            if token is None or token in ")]":
                raise NoFormulaError(f"{token} is not expected")
            if token == "/":
                self.take()
                if not parts or parts[-1].startswith("<mo>"):
                    raise NoFormulaError("a fraction has no numerator")
                parts.append(f"<mfrac>{_bare(parts.pop())}{_bare(self.denominator(closing))}</mfrac>")
            elif token in RELATIONS:
                parts.append(f"<mo>{RELATIONS[self.take()]}</mo>")
            else:
                parts += [_SPACE] * (bool(parts) and not parts[-1].startswith("<mo>"))
                parts.append(self.term())
        return "".join(parts)

    def denominator(self, closing: str | None) -> str:
        """One term; a sum takes all that follows."""
        return f"<mrow>{self.sequence(closing)}</mrow>" if self.peek() in SUMS else self.term()

    def term(self) -> str:
        """A number, name or group with its indices and powers; a function takes the group behind it."""
        token = self.take()
        if token in CLOSING:
            base = self.group(token)
        elif token == "sqrt":
            return f"<msqrt>{_bare(self.term())}</msqrt>"
        elif token[0].isdigit():
            base = f"<mn>{token}</mn>"
        elif token[0].isalpha():
            base = _name(token)
        else:
            raise NoFormulaError(f"{token} is not expected")
        base = self.scripts(base)
        is_function = token[0].isalpha() and self.peek() == "(" and (len(token) > 1 or token in "TLNfg")
        return f"<mrow>{base}{self.scripts(self.group(self.take()))}</mrow>" if is_function else base

    def group(self, opening: str) -> str:
        """The tokens between brackets or bars."""
        closing = CLOSING[opening]
        inside = self.sequence(closing)
        self.take()
        left, right = ("‖", "‖") if opening == "||" else (opening, closing)
        return f"<mrow><mo>{left}</mo>{inside}<mo>{right}</mo></mrow>"

    def scripts(self, base: str) -> str:
        """Indices, primes, hats and powers of ``base``."""
        below = above = ""
        while self.peek() in ("_", "^", "'"):
            sign = self.take()
            if sign == "'":
                base = f"<msup>{base}<mo>′</mo></msup>"
            elif sign == "_" and self.peek() == "hat":
                self.take()
                base = f"<mover accent='true'>{base}<mo>^</mo></mover>"
            elif sign == "_":
                below = _index(self.take())
            else:
                above = self.power()
        if below and above:
            return f"<msubsup>{base}{below}{above}</msubsup>"
        return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>" if above else base

    def power(self) -> str:
        """An exponent, which may have a sign and indices."""
        sign = "<mo>−</mo>" if self.peek() == "-" and self.take() else ""
        return f"<mrow>{sign}{_bare(self.term())}</mrow>"


def _name(token: str) -> str:
    if token in SUMS:
        return f"<mo>{SUMS[token]}</mo>" if token == "sum" else "<mi>mean</mi>"
    return f"<mi>{GREEK.get(token, token)}</mi>"


def _index(token: str) -> str:
    """``ic`` is two indices, ``max`` is a word."""
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if not token[0].isalpha():
        raise NoFormulaError(f"the index {token} is no name")
    letters = [token] if len(token) > 2 or token in GREEK else list(token)
    return "<mrow>" + "".join(_name(letter) for letter in letters) + "</mrow>"


def _bare(term: str) -> str:
    """A group without its parentheses, which a fraction or root does not need."""
    opening, closing = "<mrow><mo>(</mo>", "<mo>)</mo></mrow>"
    if not (term.startswith(opening) and term.endswith(closing)):
        return term
    inside, depth = term[len(opening) : -len(closing)], 0
    for tag in re.findall(r"</?mrow>", inside):
        depth += -1 if tag[1] == "/" else 1
        if depth < 0:
            return term
    return f"<mrow>{inside}</mrow>"
