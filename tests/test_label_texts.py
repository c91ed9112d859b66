"""Labels of CSV files: numbers where they come back as given, texts where they do not.

Narrow tables are read in another way than wide ones; both must come to what the texts say.
"""

from __future__ import annotations

import csv
import os
import re
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet.data import tabular

TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def as_the_texts_say(texts: list[str]) -> np.ndarray:
    """All labels as texts, and numbers of them only then."""
    if all(text in TRUTHS for text in texts):
        return np.array([TRUTHS[text] for text in texts])
    try:
        numbers = np.asarray(pd.to_numeric(np.array(texts, dtype=object)))
    except (ValueError, TypeError):
        return np.array(texts)
    is_whole = all(re.fullmatch(r"[-+\d\s]*", text, re.ASCII) for text in texts)
    is_code = any(
        re.fullmatch(r"[ \t]*[-+]?0\d+[ \t]*", line, re.ASCII)
        for text in texts
        for line in text.split("\n")
    )
    is_lost = is_code or (is_whole and "+" in "".join(texts))
    is_lost |= numbers.dtype.kind not in ("iu" if is_whole else "f")
    return np.array(texts) if is_lost else numbers


def read(path: Path, label: int) -> tuple[Any, ...]:
    """What comes of the labels, to the bit, or what is said of them."""
    try:
        labels = tabular.read_csv(path, label).y
    except ValueError as error:
        return ("refused", str(error))
    return labels.dtype.kind, labels.tolist(), labels.tobytes()


def written(folder: Path, texts: list[str], label: int) -> Path:
    path = folder / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["a", "b", "c"])
        for number, text in enumerate(texts):
            row = [f"{number}.5", str(number)]
            row.insert(label, text)
            writer.writerow(row)
    return path


whole = st.integers(-(2**66), 2**66).map(str) | st.integers(0, 12).map(str)
fractions = st.floats(allow_nan=False).map(repr) | st.decimals(0, 99, places=2).map(str)
signed = st.builds("".join, st.tuples(st.sampled_from(["+", "-", " ", "\t", " -", ""]), whole))
padded = st.builds(
    "".join, st.tuples(st.sampled_from(["0", "00", "-0", "+0", " 0", "0" * 30]), whole)
)
spaced = st.builds("".join, st.tuples(whole, st.sampled_from([" ", "\t", "\n", ".0", "e2", "."])))
others = st.sampled_from(
    ["x", "NA", "nan", "inf", "-Infinity", "True", "false", "", "1_0", "é", "٣"]
)
anything = whole | fractions | signed | padded | spaced | others
columns = (
    st.lists(st.integers(-9, 9).map(str), min_size=1, max_size=12)
    | st.lists(whole, min_size=1, max_size=12)
    | st.lists(fractions, min_size=1, max_size=12)
    | st.lists(whole | fractions, min_size=1, max_size=12)
    | st.lists(whole | signed, min_size=1, max_size=12)
    | st.lists(fractions | padded, min_size=1, max_size=12)
    | st.lists(whole | spaced, min_size=1, max_size=12)
    | st.lists(st.sampled_from(list(TRUTHS)), min_size=1, max_size=12)
    | st.lists(anything, min_size=1, max_size=12)
)


@given(texts=columns, label=st.sampled_from([0, 2]))
@settings(max_examples=400, deadline=None)
def test_narrow_and_wide_tables_have_the_labels_that_the_texts_say(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], label: int
) -> None:
    path = written(tmp_path_factory.getbasetemp(), texts, label)
    found = read(path, label)
    with mock.patch.object(tabular, "NARROW", 0):
        assert read(path, label) == found
    if found[0] != "refused":
        expected = as_the_texts_say(texts)
        assert found[:2] == (expected.dtype.kind, expected.tolist())
        assert found[2] == expected.tobytes()


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ("1.5 2.5 3", "f"),
        ("1.5 2.5 03", "U"),
        ("1 2 3", "i"),
        ("1 2 03", "U"),
        ("1 2 +3", "U"),
        (f"1 2 0{7:040}", "U"),
        ("1 0 -0", "i"),
        (f"1.5 {2:030}.25 3", "f"),
        ("1.0 2.0", "f"),
        (f"1 {10**30}", "U"),
    ],
)
def test_one_text_among_many_decides(tmp_path: Path, texts: str, kind: str) -> None:
    path = written(tmp_path, [*texts.split()[:1] * 5000, *texts.split()], 1)
    assert tabular.read_csv(path, 1).y.dtype.kind == kind


def test_labels_of_fractions_are_read_once(tmp_path: Path) -> None:
    path = written(tmp_path, ["0.5", "1.25", "7.125"], 1)
    with mock.patch.object(tabular._Sheet, "_column", side_effect=AssertionError):
        assert tabular.read_csv(path, 1).y.tolist() == [0.5, 1.25, 7.125]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("texts", ["1 2 3", "1 2 03", "1.5 2 3"])
def test_a_pipe_cannot_be_read_twice(tmp_path: Path, texts: str) -> None:
    text = written(tmp_path, texts.split(), 1).read_text()
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_text, args=(text,))
    thread.start()
    try:
        found = tabular.read_csv(pipe, 1).y
    finally:
        thread.join()
    assert found.tolist() == as_the_texts_say(texts.split()).tolist()
