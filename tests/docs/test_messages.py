"""Every message of a `UserError` names a place and says what to do."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import LIST, messages, page

REMEDIES = (
    "accept|add|allow|change|check|choose|close|compare|convert|copy|correct|delete|download|extract|fetch|fine-tune|fix|"
    "free|give|import|install|keep|list|lower|make|measure|move|must|name|put|raise|reinstall|remove|rename|replace|run|"
    "save|set|shorten|start|train|use"
)
PASSED_ON = re.compile(r"(?:\{.*?\}|[\\n :])+")  # another message, or a list of them
SAID = sorted({text for _, text in messages() if not PASSED_ON.fullmatch(text)})


def test_the_list_that_reviewers_read_is_complete():
    assert LIST.read_text(encoding="utf-8") == page(), (
        "run `python -m tests.docs.messages` and read the difference"
    )


@pytest.mark.parametrize("text", SAID)
def test_a_message_says_what_to_do(text):
    clauses = re.split(r"[;,:.(—] *|\n *| (?:and|or|then) ", text)
    assert any(
        re.match(rf"(?:or |then |first )?(?:{REMEDIES}|\{{(?:hint|remedy)\}})(?!\w)", clause)
        for clause in clauses
    )


@pytest.mark.parametrize("text", SAID)
def test_a_message_names_a_place(text):
    assert re.search(r"\{|\w\.(?:csv|yaml|txt)\b|^the two experiments", text)
