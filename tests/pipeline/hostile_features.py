"""Ways to turn a sound cache into one made to harm, and what the reader must say of each."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from tests.pipeline import feature_files as files

N = 20  # rows of the sound cache that is tampered with
HOSTILE: dict[str, tuple[Callable[[h5py.File], None], str]] = {}


def hostile(why: str):
    """Registers a change to a sound cache, and what the error must say."""

    def register(change):
        HOSTILE[change.__name__] = (change, why)
        return change

    return register


@hostile("pooled: is a link, not a dataset")
def external_link(file):
    del file["pooled"]
    file["pooled"] = h5py.ExternalLink("/etc/passwd", "/pooled")


@hostile("pooled: is a link, not a dataset")
def soft_link(file):
    del file["times"]
    file.move("pooled", "times")
    file["pooled"] = h5py.SoftLink("/times")


@hostile("pooled: is a link, not a dataset")
def soft_link_loop(file):
    del file["pooled"], file["times"]
    file["pooled"] = h5py.SoftLink("/times")
    file["times"] = h5py.SoftLink("/pooled")


@hostile("pooled: is not stored in chunks")
def virtual_dataset(file):
    del file["pooled"]
    layout = h5py.VirtualLayout((N, 5), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (N, 5))
    file.create_virtual_dataset("pooled", layout)


@hostile("status: is not stored in chunks")
def external_storage(file):
    del file["status"]
    file.create_dataset("status", (N,), "u1", external=[("/etc/passwd", 0, N)])


@hostile("status: is not stored in chunks")
def contiguous(file):
    values = file["status"][:]
    del file["status"]
    file["status"] = values


@hostile("error: is not fixed-length UTF-8")
def object_references(file):
    put_raw(file, "error", h5t.STD_REF_OBJ)


@hostile("error: is not fixed-length UTF-8")
def strings_of_any_length(file):
    put_raw(file, "error", h5t.py_create(h5py.string_dtype(), logical=True))


@hostile("error: is not fixed-length UTF-8")
def ascii_strings(file):
    files.put(file, "error", np.zeros(N, h5py.string_dtype("ascii", 9)))


@hostile("pooled: has the wrong type")
def big_endian(file):
    files.put(file, "pooled", np.zeros((N, 5), ">f4"))


@hostile("pooled: has the wrong type")
def float_of_another_layout(file):
    kind = h5t.IEEE_F32LE.copy()
    kind.set_ebias(77)
    put_raw(file, "pooled", kind, (N, 5))


@hostile("status: has the wrong type")
def an_enumeration(file):
    put_raw(file, "status", h5t.py_create(h5py.enum_dtype({"ok": 0}, "u1"), logical=True))


@hostile("pooled: filters .*1.*: expected only fletcher32")
def decompression_bomb(file):
    files.put(file, "pooled", np.zeros((N, 5), "f4"), compression="gzip")


@hostile("pooled: filters .*: expected only fletcher32")
def no_checksum(file):
    files.put(file, "pooled", np.zeros((N, 5), "f4"), fletcher32=False)


@hostile("pooled: the chunk at row 0 is truncated or has no checksum")
def checksum_switched_off_for_one_chunk(file):
    put_raw(file, "pooled", h5t.IEEE_F32LE, (N, 5))
    file["pooled"].id.write_direct_chunk((0, 0), bytes(4 * N * 5 + 4), filter_mask=1)


@hostile("pooled: the chunk at row 0 is truncated or has no checksum")
def chunk_shorter_than_its_shape(file):
    put_raw(file, "pooled", h5t.IEEE_F32LE, (N, 5))
    file["pooled"].id.write_direct_chunk((0, 0), bytes(44))


@hostile("pooled: 0 chunks")
def no_chunks_at_all(file):
    put_raw(file, "pooled", h5t.IEEE_F32LE, (N, 5))


@hostile("claims the shape")
def two_to_the_62_names(file):
    for name in ("utterance", "status", "error"):
        put_raw(file, name, file[name].id.get_type(), (2**62,), (1,))
    put_raw(file, "pooled", h5t.IEEE_F32LE, (2**62, 1), (1, 1))
    put_raw(file, "offsets", h5t.STD_I64LE, (2**62 + 1,), (1,))
    del file["pooled_names"]


@hostile("pooled_names: has the shape|pooled: claims the shape")
def product_beyond_64_bits(file):
    put_raw(file, "pooled", h5t.IEEE_F32LE, (N, 2**60), (1, 4))


@hostile("pooled: 42949672960 bytes of rows without features")
def forty_gigabytes_of_missing_rows(file):
    put_raw(file, "pooled", h5t.IEEE_F32LE, (0, 2**29), (1, 2**29))
    files.put(file, "status", np.ones(N, "u1"))
    for name in ("pooled_names", "frames", "frames_names", "offsets", "times"):
        del file[name]
    files.put(
        file, "sums", np.array([files.sums(file, name)[0] for name in ("error", "status", "utterance")], "u8")
    )


@hostile("frames: claims the shape|times: claims the shape")
def frames_of_8_gigabytes(file):
    put_raw(file, "frames", h5t.IEEE_F16LE, (2**30, 3), (2**20, 3))
    put_raw(file, "times", h5t.IEEE_F32LE, (2**30,), (2**20,))


@hostile("utterance: claims strings of")
def names_of_a_gigabyte(file):
    kind = h5t.C_S1.copy()
    kind.set_size(2**30)
    kind.set_cset(h5t.CSET_UTF8)
    put_raw(file, "utterance", kind, (N,), (1,))


@hostile("error: has the shape")
def one_name_more(file):
    values = file["utterance"][:]
    files.put(file, "utterance", np.append(values, [b"one more"]).astype(file["utterance"].dtype))


@hostile("status: has 2 dimensions")
def another_rank(file):
    files.put(file, "status", np.zeros((N, 1), "u1"))


@hostile("status: is not stored in chunks")
def a_scalar(file):
    put_raw(file, "status", h5t.STD_U8LE, ())


@hostile("frames: is missing")
def offsets_without_frames(file):
    del file["frames"]


def change(file, name, where, value):
    file[name][where] = value


def put_raw(file, name, kind, shape=(N,), chunk=None):
    """A chunked, checksummed dataset of any HDF5 type, with nothing stored."""
    if name in file:
        del file[name]
    plist = h5p.create(h5p.DATASET_CREATE)
    if shape:
        plist.set_chunk(chunk or shape)
        if not kind.detect_class(h5t.VLEN) and not kind.detect_class(h5t.REFERENCE) and not (
            isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
        ):  # fmt: skip
            plist.set_fletcher32()
        space = h5s.create_simple(shape, (h5s.UNLIMITED, *shape[1:]))
    else:
        plist.set_layout(h5d.COMPACT)
        space = h5s.create(h5s.SCALAR)
    h5d.create(file.id, name.encode(), kind, space, plist)
