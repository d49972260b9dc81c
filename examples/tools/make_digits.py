#!/usr/bin/env python3
"""Make examples/digits.npz from scikit-learn's copy of the UCI optical digits.

    pip download --no-deps scikit-learn
    python3 examples/tools/make_digits.py scikit_learn-*.whl examples/digits.npz

Needs Python's standard library only. The same input gives the same bytes. The arrays, all in file order:
    train_x f16 [1198, 1, 8, 8], pixels / 16    train_t u8 [1198]    images whose index i has i mod 3 != 2
    test_x  f16 [599, 1, 8, 8]                  test_t  u8 [599]     the others: test image k is image 3k + 2
"""
import gzip
import struct
import sys
import zipfile

CSV = "sklearn/datasets/data/digits.csv.gz"  # 64 pixels 0..16 and the digit, per line


def read_rows(wheel):
    with zipfile.ZipFile(wheel) as z:
        text = gzip.decompress(z.read(CSV)).decode("ascii")
    rows = [[int(float(v)) for v in line.split(",")] for line in text.split()]
    assert len(rows) == 1797 and all(len(r) == 65 and 0 <= min(r) and max(r[:64]) <= 16 and r[64] < 10 for r in rows)
    return rows


def npy(descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode("ascii") + data


def arrays(rows):
    for name, part in (("train", [r for i, r in enumerate(rows) if i % 3 != 2]), ("test", rows[2::3])):
        pixels = [v / 16 for r in part for v in r[:64]]
        yield name + "_x", npy("<f2", (len(part), 1, 8, 8), struct.pack("<%de" % len(pixels), *pixels))
        yield name + "_t", npy("|u1", (len(part),), bytes(r[64] for r in part))


def main(wheel, out):
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, data in arrays(read_rows(wheel)):
            info = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
