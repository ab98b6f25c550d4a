"""Sound HDF5 that says what no cache may say: values, names and attributes."""

from __future__ import annotations

import h5py
import numpy as np

from tests.pipeline import feature_files as files
from tests.pipeline.hostile_features import change, hostile


@hostile("offsets: do not increase")
def negative_offsets(file):
    change(file, "offsets", 0, -(2**62))


@hostile("offsets: do not increase")
def offsets_that_fall(file):
    change(file, "offsets", 2, 10**6)


@hostile("offsets: do not increase")
def offsets_beyond_the_frames(file):
    change(file, "offsets", -1, 2**62)


@hostile("offsets: contradict status")
def frames_of_a_row_without_a_face(file):
    change(file, "offsets", 4, file["offsets"][4] - 1)
    change(file, "offsets", 3, file["offsets"][3] - 1)
    change(file, "offsets", 3, file["offsets"][2])


@hostile("utterance: duplicate utterance id 'dialog ü0_0'")
def duplicate_names(file):
    change(file, "utterance", 7, file["utterance"][0])


@hostile("utterance: row 7 is empty")
def empty_name(file):
    change(file, "utterance", 7, b"")


@hostile("utterance: is not UTF-8 at byte")
def names_that_are_no_utf8(file):
    change(file, "utterance", 7, b"\xff\xfe\x00x")


@hostile("utterance: is not UTF-8 at byte")
def half_a_character_at_a_names_end(file):
    change(file, "utterance", 7, b"abc\xc3")


@hostile("error: contains unprintable characters")
def terminal_escapes(file):
    change(file, "error", 0, b"\x1b]0;owned\x07")


@hostile("utterance: contains unprintable characters")
def a_line_break_in_a_name(file):
    change(file, "utterance", 0, b"two\nnames")


@hostile("status: unknown code 200")
def unknown_status(file):
    change(file, "status", 0, 200)


@hostile("pooled: utterance dialog ü0_2: values contradict its status, ok")
def nan_in_a_feature(file):
    change(file, "pooled", (2, 1), np.nan)


@hostile("pooled: utterance dialog ü0_2: values contradict its status, ok")
def infinity_in_a_feature(file):
    change(file, "pooled", (2, 1), np.inf)


@hostile("pooled: 16 rows for 15 utterances whose status is ok")
def numbers_where_no_feature_is(file):
    change(file, "status", 0, 5)


@hostile("pooled: 16 rows for 17 utterances whose status is ok")
def no_numbers_where_a_feature_is(file):
    change(file, "status", 3, 0)


@hostile("sums: has the shape")
def too_few_sums(file):
    files.put(file, "sums", file["sums"][1:])


@hostile("pooled: damaged: rows 0 to 15 do not match their sum")
def another_sum(file):
    sums = file["sums"][:]
    change(file, "sums", 4, sums[0])


@hostile("frames: utterance dialog ü0_0 has values that are not finite")
def infinity_in_a_frame(file):
    change(file, "frames", 0, np.inf)


@hostile("times: utterance dialog ü0_0 has values that are not finite")
def infinite_time(file):
    change(file, "times", 0, np.inf)


@hostile("digest: does not match the values")
def a_changed_value(file):
    change(file, "pooled", (2, 1), 1.0)


@hostile("digest: does not match the values")
def a_changed_reason(file):
    change(file, "error", 3, b"another")


@hostile("'payload': does not belong")
def a_further_dataset(file):
    files.put(file, "payload", np.zeros(10, "u1"))


@hostile("times: is not a dataset")
def a_group_instead(file):
    del file["times"]
    file.create_group("times")


@hostile("times: is not a dataset")
def a_hard_link_loop(file):
    del file["times"]
    file["times"] = file["/"]


@hostile("times: has attributes")
def an_attribute_on_a_dataset(file):
    file["times"].attrs["x"] = 1


@hostile("attributes: expected 13, found 14")
def a_further_attribute(file):
    file.attrs["x"] = 1


@hostile("licence: is missing")
def a_renamed_attribute(file):
    file.attrs["license"] = file.attrs["licence"]
    del file.attrs["licence"]


@hostile("licence: is not a single value")
def an_array_for_an_attribute(file):
    file.attrs.create("licence", np.zeros(9, h5py.string_dtype("utf-8", 3)))


@hostile("licence: is not fixed-length UTF-8")
def a_number_for_an_attribute(file):
    file.attrs["licence"] = 7


@hostile("licence: is not UTF-8 at byte 0")
def an_attribute_that_is_no_utf8(file):
    files.put_attribute(file, "licence", b"\xff")


@hostile("licence: contains unprintable")
def an_attribute_with_escapes(file):
    files.put_attribute(file, "licence", b"\x1b[2J")


@hostile("schema: 'emofuse-features-9' is neither emofuse-features-1 nor emofuse-features-2")
def another_schema(file):
    files.put_attribute(file, "schema", b"emofuse-features-9")


@hostile("modality: 'smell' is not one of")
def another_modality(file):
    files.put_attribute(file, "modality", b"smell")


@hostile("encoder: damaged: ")
def broken_json(file):
    files.put_attribute(file, "encoder", b"{")


@hostile("encoder: damaged: ")
def deep_json(file):
    files.put_attribute(file, "encoder", b"[" * 60_000)


@hostile("encoder: damaged: NaN is not valid JSON")
def nan_in_json(file):
    files.put_attribute(file, "encoder", b'{"x": NaN}')


@hostile("encoder: damaged: .*digits")
def a_number_without_end(file):
    files.put_attribute(file, "encoder", b'{"x": ' + b"9" * 50_000 + b"}")


@hostile("encoder: is not a JSON object")
def a_list_for_params(file):
    files.put_attribute(file, "encoder", b"[]")


@hostile("weights: has values that are not strings")
def a_number_for_a_hash(file):
    files.put_attribute(file, "weights", b'{"sha256": 1}')
