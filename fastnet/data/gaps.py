"""What is said of values that are missing in a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fastnet.data.spelling import MISSING, TRUTHS, is_plain, meant

if TYPE_CHECKING:
    import pandas as pd

LONGEST_SHOWN = 60  # characters of a text or a name, in a message
MOST_SHOWN = 8  # columns that are named in a message


class Place(Protocol):
    """Where values stand."""

    names: list[str]

    def without_gaps(self, places: Sequence[int], *, in_words: bool) -> str:
        """Return a line of pandas that drops the rows with gaps in these columns, or nothing.

        ``in_words`` says whether some gaps are texts, such as NA.
        """


class Gap(ValueError):  # noqa: N818 - a signal to `counted`
    """A value is missing."""


@contextlib.contextmanager
def counted(
    frame: pd.DataFrame,
    places: Sequence[int],
    coded: Sequence[int],
    label: int | None,
    at: Place,
    *,
    is_part: bool = False,
) -> Iterator[None]:
    """Say with the first gap how many there are in which columns, and what to do about them.

    Parameters
    ----------
    frame : data frame
        Its columns are numbered.
    places : sequence of int
        Where the features stand.
    coded : sequence of int
        Where there are texts, which may be called NA.
    label : int or None
        Where the labels stand.
    at : Place
    is_part : bool, default False
        Whether there are other rows, in which there may be more.
    """
    try:
        yield
    except Gap as gap:
        columns = [*dict.fromkeys([*places, *([] if label is None else [label])])]
        masks = {
            place: _gaps(frame[place], is_text=place in coded, is_label=place == label)
            for place in columns
        }
        counts = {place: int(mask.sum()) for place, mask in masks.items() if mask.any()}
        found = sorted(counts, key=lambda place: -counts[place])
        shown = ", ".join(
            f"{cut(at.names[place])} {counts[place]:,}" for place in found[:MOST_SHOWN]
        )
        cells, rest = sum(counts.values()), len(found) - MOST_SHOWN
        many = f"{'at least ' if is_part else ''}{cells:,} cell(s)"
        more = f" and those of {rest:,} more column(s)" if rest > 0 else ""
        in_words = any(int(frame[place].isna().sum()) < counts[place] for place in found)
        # Where texts are features, pandas would take some of them for gaps, too.
        line = "" if coded or rest > 0 else at.without_gaps(found, in_words=in_words)
        is_filled = found != [label]
        raise ValueError(
            f"{gap}; missing are {many}: {shown}{more}; drop such rows"
            + (f", as in {line}" if line else "")
            + (", or fill them, with the same values in every table" if is_filled else "")
        ) from None


def _gaps(values: pd.Series[Any], *, is_text: bool, is_label: bool) -> pd.Series[Any]:
    """Return where nothing stands or, among numbers, what stands for nothing."""
    gaps = values.isna()
    if is_text or is_plain(values.dtype) or getattr(values.dtype, "kind", "") == "f":
        return gaps
    import pandas

    names = values.map(lambda value: isinstance(value, str) and value in MISSING).astype(bool)
    others = values[~(gaps | names)]
    kinds = str if is_label else str | int | float
    if not names.any() or not all(isinstance(value, kinds) for value in others):
        return gaps
    if is_label:
        is_number = len(others) > 0 and meant(others) is not None
    else:
        numbers = pandas.to_numeric(others[~others.isin([*TRUTHS])], errors="coerce")
        is_number = not numbers.isna().any()
    return gaps | names if is_number else gaps


def cut(value: object) -> str:
    """Return how a value is written, not all of it if it is long."""
    shown = repr(value[: LONGEST_SHOWN + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= LONGEST_SHOWN + 2 else f"{shown[:LONGEST_SHOWN]}..."
