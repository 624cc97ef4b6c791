"""The paper's own statistics, recomputed from the trials it lists."""

import numpy as np
import pytest

from dactyl_tl.evaluation.paper import MISPRINT, TABLE_3, TABLE_4, TABLE_5, PaperRow, table_3_row
from dactyl_tl.evaluation.statistics import sample_std, summarize

LISTED = [row for table in (TABLE_3, TABLE_4, TABLE_5) for row in table.values() if row.trials]


def test_every_table_is_there() -> None:
    assert (len(TABLE_3), len(TABLE_4), len(TABLE_5)) == (8, 7, 3)
    assert len(LISTED) == 4 + 7 + 3
    assert all(row.count == 10 for row in LISTED)
    assert all(list(row.trials) == sorted(row.trials, reverse=True) for row in LISTED)


@pytest.mark.parametrize("row", LISTED, ids=lambda row: row.label)
def test_listed_trials_give_the_printed_mean_and_median(row: PaperRow) -> None:
    summary = summarize(row.trials)
    assert round(summary.mean.estimate, 1) == row.mean
    assert summary.median == row.median


@pytest.mark.parametrize("row", [row for row in LISTED if row != MISPRINT], ids=lambda row: row.label)
def test_listed_trials_give_the_printed_sample_deviation_and_not_the_population_one(row: PaperRow) -> None:
    assert round(sample_std(row.trials), 1) == row.std
    assert round(float(np.std(row.trials)), 1) != row.std


def test_one_row_has_a_deviation_that_no_formula_prints() -> None:
    assert MISPRINT.std == 4.1
    assert round(sample_std(MISPRINT.trials), 3) == 4.165
    assert round(float(np.std(MISPRINT.trials)), 3) == 3.951


def test_rows_by_task() -> None:
    row = table_3_row("block")
    assert row is not None
    assert (row.mean, row.std, row.median, row.count) == (43.4, 13.8, 50, 100)
    assert table_3_row("sphere") is None
