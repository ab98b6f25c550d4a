"""Read the published figures in published.csv, which names their sources."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PUBLISHED = Path(__file__).with_name("published.csv")


def published(dataset: str | None, metric: str) -> pd.DataFrame:
    """Return the published figures of a data set: index system, columns `published` (in percent) and `chosen_on`.

    `chosen_on` is the split on which the authors' code chooses the epoch, or NaN if that is not known.
    """
    table = pd.read_csv(PUBLISHED)
    chosen = table[(table["dataset"] == dataset) & (table["metric"] == metric)].set_index("system")
    return chosen.rename(columns={"value": "published"})[["published", "chosen_on"]]
