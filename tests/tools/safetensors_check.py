#!/usr/bin/env python3
"""safetensors_check.py LATHE [N]: N random files of weights (default 100), written by `lathe weights F --for NET -o G.safetensors`
and by the reference writer (package safetensors) of the same arrays, must be the same bytes; the reference reader must read ours,
and we what it writes, metadata included. Element types f32, f64, i32, i64 and bool, ranks 0 to 4, names with characters of one to
four bytes and those that JSON escapes. Prints how many were the same; exit 1 where one was not."""
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.numpy as st

TYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
LETTERS = list('abzAZ09._/:-+ "\\<>&\'{}[],é\u00ff\u0394中\u2028\ufffd😀')


def arrays(rng):
    out = {}
    for i in range(rng.randint(1, 12)):
        name = "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 9))).strip() or "w"
        dims = [rng.randint(1, 4) for _ in range(rng.randint(0, 4))]
        kind = rng.choice(list(TYPES))
        value = np.array([rng.randint(0, 1 if kind == "bool" else 100) for _ in range(int(np.prod(dims, dtype=int)))])
        out[name] = (kind, value.reshape(dims).astype(TYPES[kind]))
    return out


def network(made):
    """Weights of floats are params, others states."""
    lines = ["network n(x: f32[1]) -> y {"]
    for name, (kind, v) in made.items():
        word = "param" if kind[0] == "f" else "state"
        lines.append(f"  {word} `{name}`: {kind}[{', '.join(map(str, v.shape))}] = zeros()")
    return "\n".join(lines + ["  y = relu(x)", "}"]) + "\n"


def main():
    lathe, n, bad = os.path.realpath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100, 0
    os.chdir(tempfile.mkdtemp())
    for seed in range(n):
        made = arrays(random.Random(seed))
        tensors = {k: v for k, (_, v) in made.items()}
        with open("n.lathe", "w", encoding="utf-8") as f:
            f.write(network(made))
        st.save_file(tensors, "reference.safetensors")
        st.save_file(tensors, "told.safetensors", metadata={"format": "np", 'say "é"': "\n\\"})
        for source in ("reference", "told"):
            done = subprocess.run([lathe, "weights", source + ".safetensors", "--for", "n.lathe", "-o", "ours.safetensors"],
                                  capture_output=True, text=True)
            same = not done.returncode and open("ours.safetensors", "rb").read() == open("reference.safetensors", "rb").read()
            if same:
                read = st.load_file("ours.safetensors")
                same = read.keys() == tensors.keys() and all(np.array_equal(read[k], tensors[k]) for k in read)
            bad += not same
            if not same:
                print(f"seed {seed}, from {source}: {done.stderr.strip() or 'other bytes'}\n  {ascii(list(made))}")
    print(f"{2 * n} files, {bad} not the same (safetensors {__import__('safetensors').__version__})")
    return bad > 0


sys.exit(main())
