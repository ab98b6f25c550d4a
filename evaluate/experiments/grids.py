"""The papers' tables as grids of experiments, and the rows that fit a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from evaluate.experiments.paper import IEMOCAP, MELD, overrides
from pipeline.params import MODALITIES, Params


@dataclass(frozen=True)
class Row:
    """One experiment of a grid.

    Attributes:
        title: the row's name in the table.
        changes: params that the experiment changes, as Hydra overrides.
        published: the system's name in published.csv; empty if nothing was published.
        needs: modalities that must have a stream; otherwise the row is left out.
        cited: why the system is not run; the row shows its published figure only.
    """

    title: str
    changes: tuple[str, ...] = ()
    published: str = ""
    needs: tuple[str, ...] = ()
    cited: str = ""


def _only(*modalities: str) -> tuple[str, ...]:
    return tuple(f"train.streams.{m}=none" for m in ("text", "audio", "visual") if m not in modalities)


def _alone(title: str, published: str = "") -> Row:
    modalities = tuple(title.split("+"))
    return Row(title, _only(*modalities), published, modalities)


MULTIEMO, FOALNET = "model.name=multiemo", "model.name=foalnet"
BOTH = ("audio", "visual")
# A solver gives every seed the same result, so one seed is enough.
ONCE = "++train.seeds=1"
LINEAR = (
    Row("majority", ("model.name=majority", ONCE)),
    Row("logistic regression", ("model.name=logreg", ONCE)),
    Row("logistic regression, ±3 turns", ("model.name=logreg_context", "++model.turns=3", ONCE)),
)
RECURRENT = (
    Row("BC-LSTM", ("model.name=bclstm",), "BC-LSTM"),
    Row("DialogueRNN", ("model.name=dialoguernn",), "DialogueRNN"),
)
# The other rows are compared with the last row of a grid. `++` also sets a param that params.yaml leaves out.
GRIDS = {
    "baselines": (
        *LINEAR,
        Row("attention", ("model.name=attention",)),
        Row("LMF", ("model.name=lmf",)),
        *RECURRENT,
        Row("DialogueGCN", ("model.name=dialoguegcn",), "DialogueGCN"),
        Row("MMGCN", ("model.name=mmgcn",), "MMGCN"),
        Row("M3Net", ("model.name=m3net",)),
        Row("after IterativeERC (reduction)", ("model.name=iterative",), "IterativeERC"),
        Row("QMNN", ("model.name=qmnn",), "QMNN"),
        Row("MVN, utterance view (reduction)", ("model.name=mvn_utterance", "++model.turns=10"), "MVN"),
        Row("SDT", ("model.name=sdt",)),
        Row("UniMSE", published="UniMSE", cited="cited only, because it trains T5 on four corpora at once"),
        Row("MultiEMO", (MULTIEMO,), "MultiEMO"),
    ),
    "modalities": (
        Row("logistic regression", ("model.name=logreg", ONCE)),
        _alone("text", "MultiEMO text"),
        _alone("audio", "MultiEMO audio"),
        _alone("visual", "MultiEMO visual"),
        _alone("text+audio", "MultiEMO text+audio"),
        _alone("text+visual", "MultiEMO text+visual"),
        _alone("audio+visual"),
        _alone("text+audio+visual", "MultiEMO text+audio+visual"),
    ),
    "fusion": (
        *LINEAR,
        *RECURRENT,
        Row("MultiEMO w/o visual", (MULTIEMO, "train.streams.visual=none")),
        Row("MultiEMO w/o the text's DialogueRNN", (MULTIEMO, "++model.text_rnn=false")),
        Row("MultiEMO w/o MultiAttn", (MULTIEMO, "++model.multiattn=false"), "MultiEMO w/o MultiAttn"),
        Row("MultiEMO w/o SWFC", (MULTIEMO, "++loss.mu1=0"), "MultiEMO w/o SWFC"),
        Row("MultiEMO w/o Soft-HGR", (MULTIEMO, "++loss.mu2=0")),
        Row("MultiEMO, cross-entropy alone", (MULTIEMO, "++loss.mu1=0", "++loss.mu2=0")),
        Row("MultiEMO", (MULTIEMO,), "MultiEMO"),
    ),
    "settings": (
        *LINEAR,
        Row("MultiEMO, the paper's settings for MELD", (MULTIEMO, *overrides(MELD))),
        Row("MultiEMO, the paper's settings for IEMOCAP", (MULTIEMO, *overrides(IEMOCAP))),
        Row("MultiEMO", (MULTIEMO,)),
    ),
    "foalnet": (
        Row("audio alone", (FOALNET, *_only("audio")), "WavLM audio alone", BOTH),
        Row("video alone", (FOALNET, *_only("visual")), "CLIP video alone", BOTH),
        Row("fusion baseline", (FOALNET, "++loss.avel=0", "++loss.mem=0"), "fusion baseline", BOTH),
        Row("fusion + AVEL", (FOALNET, "++loss.mem=0"), "fusion + AVEL", BOTH),
        Row("fusion + MEM", (FOALNET, "++loss.avel=0"), "fusion + MEM", BOTH),
        Row("Foal-Net", (FOALNET,), "Foal-Net"),
    ),
}


def experiment(grid: str, row: Row) -> str:
    """Return the experiment's name: letters, digits and dashes only, since git uses it as a reference."""
    return f"{grid}-" + "-".join("".join(c if c.isalnum() else " " for c in row.title.lower()).split())


def rows(grid: str, params: Params) -> tuple[Row, ...]:
    """Return the rows of a grid that fit these params: without rows that lack a modality and without duplicate runs."""
    there = set(params.train.streams.in_use())
    values = params.model_dump()
    kept: dict[tuple[tuple[str, Any], ...], Row] = {}
    run = [row for row in GRIDS[grid] if not row.cited]
    fitting = [row for row in run if there.issuperset(row.needs) and there - _dropped(row)]
    keys = {key for row in fitting for key, _ in map(_change, row.changes)}
    for row in reversed(fitting):  # of duplicate runs keep the last, the full model
        changed = {key: _value(values, key) for key in keys} | dict(map(_change, row.changes))
        kept.setdefault(tuple(sorted(changed.items(), key=lambda pair: pair[0])), row)
    return tuple(reversed(kept.values()))


def left_out(grid: str, params: Params) -> dict[str, str]:
    """Return the rows of a grid that `rows` leaves out, {title: why}."""
    there = set(params.train.streams.in_use())
    kept = rows(grid, params)
    reasons = {}
    for row in GRIDS[grid]:
        lacking = [modality for modality in row.needs if modality not in there]
        if row in kept:
            continue
        if row.cited:
            reasons[row.title] = row.cited
        elif lacking:
            reasons[row.title] = f"params.yaml has no stream for {' and '.join(lacking)}"
        elif not there - _dropped(row):
            reasons[row.title] = "it drops every stream of params.yaml"
        else:
            reasons[row.title] = "with these params it is the same run as another row"
    return reasons


def _dropped(row: Row) -> set[str]:
    return {modality for modality in MODALITIES if f"train.streams.{modality}=none" in row.changes}


def _change(change: str) -> tuple[str, Any]:
    key, _, value = change.lstrip("+").partition("=")
    return key, YAML(typ="safe", pure=True).load(value)


def _value(values: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, or None if the file leaves it at its default."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
