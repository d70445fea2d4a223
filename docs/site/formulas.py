"""Formulas of the docstrings, such as ``z_c + tau log pi_c``, as MathML, which browsers draw without fonts or scripts of ours."""

from __future__ import annotations

import re
from html import escape
from itertools import accumulate

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


_WORD = re.compile(r"[A-Za-z]+(?:_[a-z]+)?(?:'(?![a-z]))?|\d+(?:\.\d+)?(?:e-?\d+)?|_[a-z]+\b|\|\||>=|<=|<-|\S")
_FUNCTIONS = "log exp sqrt sum mean min max cos sin sigmoid softmax grad CE"
_SETTINGS = "margin ridge strength threshold"
_SYMBOL = re.compile(rf"(?:[A-Za-z]|{'|'.join((*GREEK, *_FUNCTIONS.split(), *_SETTINGS.split()))})(?:_[a-z]{{1,4}})?'?|first_c|\d.*")
_BINARY = {*RELATIONS, "/", "^"} - {",", ";"}


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


def mathml(text: str, in_a_line: bool = False) -> str:
    """A ``<math>`` element, with fractions as high as a line where ``in_a_line``; raises ``NoFormulaError`` for what is not in the notation of the docstrings."""
    parser = _Parser(text)
    body = parser.sequence(None)
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" displaystyle="{str(not in_a_line).lower()}" aria-label="{escape(text, quote=True)}">{body}</math>'


def in_prose(text: str) -> list[tuple[int, int]]:
    """Where formulas stand in plain prose: ``with q_y = 1 - epsilon elsewhere``.

    A formula is the longest stretch of symbols, numbers and operators that can be read, with nothing of it left outside; words end it.
    """
    words = list(_WORD.finditer(text))
    found, at = [], 0
    while at < len(words):
        stop = at
        while stop < len(words) and _belongs(text, words[stop]):
            stop += 1
        end = next((end for end in range(stop, at, -1) if _whole(text, words, at, end)), None)
        if end is not None:
            found.append((words[at].start(), words[end - 1].end()))
        at = end or at + 1
    return found


def _belongs(text: str, word: re.Match[str]) -> bool:
    """Whether a word of prose may be part of a formula; an operator stands between spaces, and a sign before what it is the sign of."""
    token, before, after = word[0], text[word.start() - 1 : word.start()], text[word.end() : word.end() + 1]
    if token in ("(", ")", "||", ",", "^") or token[0] == "_":
        return True
    if token in _BINARY:
        return (
            (before.isspace() and after.isspace())
            or (token == "-" and before in " \n(^" and not after.isspace())
            or (token == "/" and after.isdigit())
        )
    return _SYMBOL.fullmatch(token) is not None


def _whole(text: str, words: list[re.Match[str]], first: int, end: int) -> bool:
    """Whether the words are one formula: brackets are closed, nothing of it lies just outside, and a comma stands only within brackets."""
    tokens = [word[0] for word in words[first:end]]
    start, stop = words[first].start(), words[end - 1].end()
    before, after = words[first - 1][0] if first else "", words[end][0] if end < len(words) else ""
    if (
        before in {*_BINARY, "lr"}
        or after in _BINARY
        or re.search(r"[^\s(]\(?\Z", text[:start][-2:])
        or not re.match(r"(?!\)[\^_])(\s|[).,;:](?!\w)|\Z)", text[stop:])
    ):
        return False
    if tokens[0] in {*_BINARY, "a"} - {"-"} or tokens[-1] in {*_BINARY, *_FUNCTIONS.split(), ",", "a"} - {"CE"}:
        return False
    if len(tokens) > 1 and tokens[-1][0].isdigit() and tokens[-2][0].isalpha():
        return False  # a name and its value: "beta_ik 1"
    depths = list(accumulate({"(": 1, ")": -1}.get(token, 0) for token in tokens))
    if depths[-1] != 0 or any(depth < 0 or (token == "," and depth == 0) for token, depth in zip(tokens, depths, strict=True)):
        return False
    return is_formula(" ".join(text[start:stop].split()))


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
