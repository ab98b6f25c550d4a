"""Build an offline HTML page: template, style and script in one file.

The page's content security policy forbids all requests, and all text from a corpus is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

LOOKS, SHARED = (Path(__file__).with_suffix(suffix) for suffix in (".css", ".js"))


def page(source: Path, *sheets: Path, **values: Any) -> str:
    """Return the rendered SOURCE.html.j2 with the scripts and style sheets inlined; `values` are escaped.

    The script is page.js followed by SOURCE.js, the style page.css followed by `sheets`.

    Args:
        source: the path of template and script without suffix.
        sheets: style sheets to add after page.css.
        values: variables of the template.
    """
    script = "".join(path.read_text(encoding="utf-8") for path in (SHARED, source.with_suffix(".js")))
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
