"""docs/math.md says where each equation stands: every file, name and quoted line is looked up."""

from __future__ import annotations

import ast
import functools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fastnet
from fastnet import activations, initializers, losses

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "math.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")

# A link to a file, and the names in it that follow the link as code.
LINK = re.compile(r"\[[^\]]*\]\((?P<path>[^)]+)\)(?P<names>(?:,?\s+`[^`]+`)*)")
SPAN = re.compile(r"`([^`]+)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


# -- the checker ----------------------------------------------------------------------------------


def tables(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of all tables, the cells by their column's title."""
    header: list[str] = []
    for line in FENCED.sub("", text).split("\n"):
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not header:
            header = cells
        elif not set("".join(cells)) <= set("-: "):
            yield dict(zip(header, cells, strict=True))


def normal(line: str) -> str:
    return " ".join(line.split())


@functools.cache
def code_lines(path: Path) -> dict[int, str]:
    """Return the lines of a Python file without comments and docstrings, by number."""
    source = path.read_text(encoding="utf-8")
    lines = dict(enumerate(source.split("\n"), 1))
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row] = lines[row][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row] = ""
    return {row: normal(line) for row, line in lines.items() if line.strip()}


@functools.cache
def names_of(path: Path) -> dict[str, tuple[int, int]]:
    """Return the first and last line of everything that a Python file gives a name to."""
    found: dict[str, tuple[int, int]] = {}

    def collect(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            targets: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                targets = [node.name]
            elif isinstance(node, ast.Assign):
                parts = [part for target in node.targets for part in ast.walk(target)]
                targets = [part.id for part in parts if isinstance(part, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                targets = [node.target.id]
            for name in targets:
                found[prefix + name] = (node.lineno, node.end_lineno or node.lineno)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")

    collect(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def places(text: str) -> Iterator[tuple[Path, list[str]]]:
    """Yield every linked file with the names that stand behind the link."""
    for match in LINK.finditer(FENCED.sub("", text)):
        yield (DOCUMENT.parent / match["path"]).resolve(), SPAN.findall(match["names"])


def is_in(path: Path, name: str) -> bool:
    if path.suffix == ".py":
        return name in names_of(path)
    return re.search(rf"\b{re.escape(name)}\(", path.read_text(encoding="utf-8")) is not None


def is_quoted(quote: str, path: Path, names: list[str]) -> bool:
    """Whether whole lines of one of the named objects, one after the other, are the quote."""
    for first, last in (names_of(path)[name] for name in names if name in names_of(path)):
        lines = [line for row, line in code_lines(path).items() if first <= row <= last]
        for begin in range(len(lines)):
            for end in range(begin + 1, len(lines) + 1):
                joined = " ".join(lines[begin:end])
                if joined == normal(quote):
                    return True
                if len(joined) > len(quote):
                    break
    return False


def complaints(text: str) -> list[str]:
    """Return what the text says of the code and is not so."""
    found = []
    for path, names in places(text):
        if not path.is_file():
            found.append(f"no file {path}")
            continue
        found += [f"no {name} in {path.name}" for name in names if not is_in(path, name)]
    for row in tables(text):
        if "code" not in row:
            continue
        linked = [(path, names) for path, names in places(row["where"]) if path.is_file()]
        if not linked:
            found.append(f"no place for {row['code']}")
        for quote in SPAN.findall(row["code"].replace(r"\|", "|")):
            if not any(is_quoted(quote, path, names) for path, names in linked):
                found.append(f"not in {row['where']}: {quote}")
    return found


# -- the document ---------------------------------------------------------------------------------


def test_every_file_name_and_line_is_there() -> None:
    assert complaints(TEXT) == []


def test_the_document_was_read() -> None:
    rows = [row for row in tables(TEXT) if "code" in row]
    assert len(rows) > 60
    assert all("where" in row and SPAN.findall(row["code"]) for row in rows)
    assert sum(len(names) for _, names in places(TEXT)) > 100


ROW = "| equation | code | where |\n|---|---|---|\n| $x$ | `{}` | [`x`](../fastnet/{}) `{}` |\n"


def test_the_checker_accepts_what_is_so() -> None:
    assert complaints(ROW.format("d *= a * (1 - a)", "activations.py", "Sigmoid.backward")) == []
    assert complaints(ROW.format("d  *=  a *\t(1 - a)", "activations.py", "Sigmoid")) == []
    two_lines = ROW.format("if beta: out += a @ b", "execution/numpy_ops.py", "_product")
    assert complaints(two_lines) == []


@pytest.mark.parametrize(
    ("quote", "file", "name", "said"),
    [
        ("d *= a * (1 - a)", "activation.py", "Sigmoid.backward", "no file"),
        ("d *= a * (1 - a)", "activations.py", "Sigmoid.backwards", "no Sigmoid.backwards in"),
        ("d *= a * (1 - a)", "activations.py", "backward", "no backward in"),
        ("d *= a * (1 + a)", "activations.py", "Sigmoid.backward", "not in"),
        ("a * (1 - a)", "activations.py", "Sigmoid.backward", "not in"),  # a part of a line
        ("d *= a * (1 - a)", "activations.py", "Sigmoid.forward", "not in"),  # of another function
        ("f'(z) = a (1 - a).", "activations.py", "Sigmoid.backward", "not in"),  # a docstring
    ],
)
def test_the_checker_finds_what_is_not_so(quote: str, file: str, name: str, said: str) -> None:
    assert any(line.startswith(said) for line in complaints(ROW.format(quote, file, name)))


def test_the_checker_finds_a_wrong_name_in_a_kernel_and_in_prose() -> None:
    kernel = "see [`x`](../kernels/fastnet_kernels/cuda/functions.cuh) `activate`, `{}`."
    assert complaints(kernel.format("slope_times")) == []
    assert complaints(kernel.format("slope_time")) == ["no slope_time in functions.cuh"]


def test_formulas_survive_markdown() -> None:
    """Markdown takes a backslash before punctuation away, and ends a cell at a bar."""
    text = SPAN.sub("", FENCED.sub("", TEXT))
    assert text.count("$") % 2 == 0
    assert text.count("$$") % 2 == 0
    formulas = re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text)
    assert len(formulas) > 200
    for formula in map("".join, formulas):
        assert not re.search(r"\\[^A-Za-z]|\||\n", formula), formula
        assert formula == formula.strip(), formula
        for left, right in ("{}", (r"\left(", r"\right)"), (r"\lvert ", r" \rvert")):
            assert formula.count(left) == formula.count(right), formula


def test_nothing_is_missing() -> None:
    names = {row["name"].strip("`") for row in tables(TEXT) if "name" in row}
    assert names == activations.ACTIVATIONS.keys() | initializers.INITIALIZERS.keys()
    pairs = {
        (loss, output)
        for row in tables(TEXT)
        if "output" in row
        for loss in SPAN.findall(row["loss"])
        for output in SPAN.findall(row["output"])
    }
    legal = {
        (loss, output)
        for loss in losses.LOSSES
        for output in activations.ACTIVATIONS
        if losses.is_legal(losses.loss(loss), activations.activation(output))
    }
    assert pairs == legal
    assert not any(cls.needs_z for cls in activations.ACTIVATIONS.values())  # as it says


# -- the example and other numbers ----------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> dict[str, object]:
    """Run the document's own code."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(code, str(DOCUMENT), "exec"), namespace)
    return namespace


def test_the_numbers_of_the_example(example: dict[str, object]) -> None:
    traces = [example["first"], example["last"]]
    seen = set()
    for row in tables(TEXT):
        if "how" not in row:
            continue
        value = ast.literal_eval(row["value"].strip("`"))
        what = row["what"].strip("$")
        part, _, layer = what.partition("_")
        got = traces[int(layer) - 1][part] if layer else example["loss"]
        np.testing.assert_allclose(np.array(value), got, rtol=0, atol=6e-7, err_msg=what)
        assert np.shape(value) == np.shape(got)
        seen.add(what)
    assert seen == {"L"} | {f"{part}_{l}" for part in ("Z", "A", "dZ", "dW", "db") for l in (1, 2)}


def test_the_gradient_of_the_example(example: dict[str, object]) -> None:
    net, X, y, w = (example[name] for name in ("net", "X", "y", "w"))
    parts = [part.ravel() for t in (example["first"], example["last"]) for part in (t.dW, t.db)]
    np.testing.assert_array_equal(np.concatenate(parts), example["gradient"])
    assert fastnet.gradcheck(net, X, y, sample_weight=w).passed


def test_the_steps_of_the_example(example: dict[str, object]) -> None:
    steps = [row for row in tables(TEXT) if "optimizer" in row]
    assert len(steps) == 2
    for row in steps:
        net = example["net"].to()
        net.fit(
            example["X"],
            example["y"],
            sample_weight=example["w"],
            optimizer=row["optimizer"].strip("`"),
            batch_size=None,
            epochs=1,
            progress=False,
        )
        expected = ast.literal_eval(row["value"].strip("`"))
        np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=6e-7)


@pytest.mark.parametrize(("dtype", "end"), [("float32", 16.7), ("float64", 36.8)])
def test_where_the_sigmoid_ends(dtype: str, end: float) -> None:
    assert f"$z = {end}$" in TEXT
    z = np.array([[end - 0.3, end]], dtype)
    a, d = np.empty_like(z), np.ones_like(z)
    activations.Sigmoid.forward(a, z, 0.0)
    activations.Sigmoid.backward(d, a, z, 0.0)
    assert a[0, 0] < 1 == a[0, 1]
    assert d[0, 0] > 0 == d[0, 1]


def test_where_the_exponential_ends() -> None:
    assert "infinite from 89 on in float32" in TEXT
    with np.errstate(over="ignore"):
        assert np.exp(np.float32(88)) < np.exp(np.float32(89)) == np.inf


def test_nesterov_is_that_of_the_paper_at_the_point_ahead() -> None:
    rate, mu = 0.1, 0.9

    def gradient(x: np.ndarray) -> np.ndarray:
        return x**3 + x

    theta, v = np.array([1.5, -0.5]), np.zeros(2)
    ahead, velocity = theta.copy(), np.zeros(2)
    for _ in range(5):
        v = mu * v - rate * gradient(theta + mu * v)
        theta = theta + v
        fastnet.SGD.momentum_step(ahead, velocity, gradient(ahead), rate, mu, 1)
        np.testing.assert_allclose(ahead, theta + mu * v, rtol=1e-12, atol=1e-15)


def test_the_kernels_take_an_unknown_number_as_it_says() -> None:
    from fastnet.execution import numba_ops

    z = np.array([[-1.0, 2.0]])
    a, d = np.zeros_like(z), np.ones_like(z)
    numba_ops.activation(a, z, 99, 0.0)
    numba_ops.activation_backward(d, a, z, 99, 0.0)
    np.testing.assert_array_equal(a, z)
    np.testing.assert_array_equal(d, np.ones_like(z))
