"""Every backend has all ops of the contract, with its arguments, and every op has a value test."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import numpy as np
import pytest
import test_ops
from backends import OPS
from tolerances import assert_close, sum_bound

from fastnet.execution.ops import NAMES, Ops


def parameters_of(op: Any) -> list[tuple[str, Any]]:
    """Names and kinds, in order; compiled functions show the Python function they came from."""
    signature = inspect.signature(getattr(op, "py_func", op))
    return [(p.name, p.kind) for p in signature.parameters.values()]


def calls_in(function: Any) -> set[str]:
    """Return the names N of all calls ``ops.N(...)`` in a function's source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "ops"
    }


# -- the contract and the backends ----------------------------------------------------------------


def test_the_contract_names_all_its_ops() -> None:
    functions = {name for name, value in vars(Ops).items() if isinstance(value, staticmethod)}
    assert set(NAMES) == functions
    assert len(NAMES) == len(functions)


@pytest.mark.parametrize("name", NAMES)
def test_every_op_says_what_it_means(name: str) -> None:
    text = inspect.getdoc(getattr(Ops, name))
    assert text is not None
    assert len(text.split()) >= 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", OPS)
def test_every_backend_has_every_op_with_the_same_arguments(backend: str, name: str) -> None:
    op = getattr(OPS[backend], name, None)
    assert op is not None, f"{backend} has no {name}"
    assert parameters_of(op) == parameters_of(getattr(Ops, name))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_taken_by_position_and_none_is_optional(name: str) -> None:
    for parameter in inspect.signature(getattr(Ops, name)).parameters.values():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameter.default is inspect.Parameter.empty


def test_compiled_functions_are_compared_by_their_python_source() -> None:
    class Compiled:
        py_func = staticmethod(lambda out, a, b, beta: None)

    assert parameters_of(Compiled()) == parameters_of(Ops.matmul_nn)
    assert parameters_of(Compiled()) != parameters_of(Ops.matmul_tn)


# -- the value tests ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_op_has_a_value_test(name: str) -> None:
    tests = test_ops.VALUE_TESTS.get(name, [])
    assert tests, f"no test in test_ops.py is marked @value_test({name!r})"
    for test in tests:
        assert test.__name__.startswith("test_")
        assert getattr(test_ops, test.__name__) is test, f"{test.__name__} is defined twice"
        assert name in calls_in(test), f"{test.__name__} does not call ops.{name}"
        assert "naive" in inspect.getsource(test) or "expected" in inspect.getsource(test)


def test_no_value_test_is_for_an_op_that_does_not_exist() -> None:
    assert set(test_ops.VALUE_TESTS) == set(NAMES)


# -- the comparison itself ------------------------------------------------------------------------


def test_assert_close_accepts_what_is_close() -> None:
    expected = np.array([[1.0, 0.0], [-3.0, 1e3]])
    assert_close(expected + 1e-8, expected, "float64")
    assert_close((expected + 1e-6).astype("float32"), expected, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.001])
def test_assert_close_refuses_other_values(dtype: str, value: float) -> None:
    expected = np.ones((2, 3))
    actual = expected.astype(dtype)
    assert_close(actual, expected, dtype)
    actual[1, 2] = value
    with pytest.raises(AssertionError, match=r"finite|off"):
        assert_close(actual, expected, dtype)


def test_assert_close_refuses_nan_that_is_expected() -> None:
    with pytest.raises(AssertionError, match="finite"):
        assert_close(np.full(2, np.nan), np.full(2, np.nan), "float64", np.full(2, np.inf))
    with pytest.raises(AssertionError, match="off"):
        assert_close(np.zeros(2), np.zeros(2), "float64", np.full(2, np.nan))


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (np.ones((2, 3), "float32"), "dtype"),
        (np.ones((3, 2)), "shape"),
        (np.ones(6), "shape"),
        (np.ones((2, 1)), "shape"),
        (np.asfortranarray(np.ones((2, 3))), "contiguous"),
        (np.ones((2, 6))[:, ::2], "contiguous"),
        ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], "no array"),
    ],
)
def test_assert_close_refuses_other_arrays(actual: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, np.ones((2, 3)), "float64")


def test_the_bound_of_a_sum_grows_with_terms_and_magnitude() -> None:
    assert sum_bound(100, 1.0, "float32") > 9 * sum_bound(9, 1.0, "float32")
    assert sum_bound(9, 3.0, "float32") == pytest.approx(3 * sum_bound(9, 1.0, "float32"))
    assert sum_bound(9, 0.0, "float64") == 0
