"""Build an offline HTML page: template, style and script in one file.

The page's content security policy forbids all requests, and all text from a corpus is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

LOOKS = Path(__file__).with_suffix(".css")
TOP = 20  # labels whose probabilities a turn shows


def page(source: Path, *sheets: Path, **values: Any) -> str:
    """Return the rendered SOURCE.html.j2 with SOURCE.js and the style sheets inlined; `values` are escaped.

    Args:
        source: the path of template and script without suffix.
        sheets: style sheets to add after evaluate/page.css.
        values: variables of the template.
    """
    script = source.with_suffix(".js").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(source.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template(f"{source.name}.html.j2").render(
        **values,
        style=Markup("".join(sheet.read_text(encoding="utf-8") for sheet in (LOOKS, *sheets))),
        script=Markup(script),
        # The content security policy allows this script only.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def top(probabilities: np.ndarray) -> list[int]:
    """Return the TOP most probable labels of `[C]` probabilities, in label order."""
    return sorted(np.argsort(-probabilities, kind="stable")[:TOP].tolist())


def bar(probabilities: np.ndarray) -> str:
    """Return a CSS gradient with one solid segment per `top` label of `[C]` probabilities; the rest is transparent."""
    kept = top(probabilities)
    edges = [0.0, *accumulate(float(probabilities[i]) * 100 for i in kept)]
    parts = zip(kept, pairwise(edges), strict=True)
    stops = [f"var(--e{i}) {a:.1f}% {b:.1f}%" for i, (a, b) in parts if b - a >= 0.05]
    if edges[-1] < 99.95:
        stops.append(f"transparent {edges[-1]:.1f}% 100%")
    return f"linear-gradient(90deg,{','.join(stops)})"
