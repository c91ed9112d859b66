"""How numbers, truths and gaps are written in tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

# What stands for a gap among numbers; among texts they are some of them, and only "" is a gap.
MISSING = (
    *("NA", "N/A", "n/a", "<NA>", "NaN", "nan", "-NaN", "-nan", "None", "NULL", "null"),
    *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
TRUTHS = {
    **dict.fromkeys(("True", "TRUE", "true"), True),
    **dict.fromkeys(("False", "FALSE", "false"), False),
}
# In numbers, one a line: none is a fraction; and a code such as 007.
ALL_WHOLE = re.compile(r"[-+\d\s]*", re.ASCII)
CODE = re.compile(r"^[ \t]*[-+]?0\d+[ \t]*$", re.ASCII | re.MULTILINE)
LONGEST_NUMBER = 24  # bytes of a label's text that are looked at


def is_plain(dtype: Any) -> bool:
    """Whether it is NumPy's, of numbers without room for gaps."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biu"


def meant(values: pd.Series[Any]) -> Array | None:
    """Return the numbers that texts stand for, or None if some stand for themselves.

    Whole numbers must be written as they will be shown: 007 and +1 are not 7 and 1, and so it is
    with more digits than 64 bits have. Among fractions, +1 is a quantity like them.
    """
    import pandas

    # Each text once: classes are few.
    places, unique = pandas.factorize(values)
    texts = np.asarray(unique, dtype=object)
    given: Array
    if all(text in TRUTHS for text in texts):
        given = np.array([TRUTHS[text] for text in texts])[places]
        return given
    try:
        numbers = np.asarray(pandas.to_numeric(texts))
    except (ValueError, TypeError):
        return None
    lines = "\n".join(texts)
    is_whole = ALL_WHOLE.fullmatch(lines) is not None
    kinds = "iu" if is_whole else "f"
    if numbers.dtype.kind not in kinds or (is_whole and "+" in lines) or CODE.search(lines):
        return None
    given = numbers[places]
    return given


def has_codes(texts: Array, *, signs: bool) -> bool:
    """Whether a text of a whole number, as bytes, is a code or, with ``signs``, has a plus.

    True also for one that is too long to tell.
    """
    letters = texts.view(np.uint8).reshape(len(texts), -1)
    if letters[:, -1].any():
        return True
    first = np.where(letters[:, 0] == ord("-"), letters[:, 1], letters[:, 0])
    # All but those with a digit from 1 to 9 in front, and those of one letter.
    odd = ((first < ord("1")) | (first > ord("9"))) & (letters[:, 1] != 0)
    lines = b"\n".join(texts[odd].tolist()).decode("latin-1")
    return (signs and "+" in lines) or CODE.search(lines) is not None
