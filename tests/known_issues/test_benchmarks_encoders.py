"""`benchmarks.extract face` ended after its third row: a worker looked for the source of an encoder of `__main__`."""

from __future__ import annotations

import runpy

from extract.contract import Encoder


def test_no_encoder_is_of_the_module_that_is_run() -> None:
    names = runpy.run_module("benchmarks.extract", run_name="run")
    encoders = [value for value in names.values() if isinstance(value, type) and issubclass(value, Encoder)]
    assert "DetectionOnly" in [encoder.__name__ for encoder in encoders]
    assert "run" not in [encoder.__module__ for encoder in encoders]
