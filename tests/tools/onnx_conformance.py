#!/usr/bin/env python3
"""The standard's own backend tests, run by the command: onnx_conformance.py LATHE [--kind node] [--only TEXT] [--jobs N] [--work DIR].

Each test is a model, inputs and the expected outputs. It passes when `lathe run MODEL --input … --expect …` says so, and
is refused when the model cannot be read, which is listed by reason; anything else has failed. Inputs that decide shapes are
fixed with --pin where the reader asks for it. Needs the packages onnx and numpy; the last line is the count.
"""
import argparse, collections, concurrent.futures, glob, os, re, subprocess, sys, tempfile
import numpy as np
import onnx
from onnx import numpy_helper

TENSORS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL}


def read(path):
    t = onnx.TensorProto()
    with open(path, "rb") as f:
        t.ParseFromString(f.read())
    return t


def cases(kind):
    """(name, model's path or None, model, data sets as lists of TensorProto)"""
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", kind)
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        file = path if path.endswith(".onnx") else os.path.join(path, "model.onnx")
        if not os.path.exists(file):
            continue
        sets = sorted(glob.glob(os.path.join(path, "test_data_set_*")))
        yield os.path.basename(path).replace(".onnx", ""), file, sets
    if kind == "node":
        from onnx.backend.test.case.node import collect_testcases
        for c in collect_testcases(None):
            yield c.name, None, c


def arrays_of(values, names, folder, prefix):
    """.npy files of a test's values; an empty list where one is no tensor"""
    out = []
    for i, (v, name) in enumerate(zip(values, names)):
        a = numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else np.asarray(v) if not isinstance(v, (list, dict)) and v is not None else None
        if a is None or a.dtype == object:
            return None
        path = os.path.join(folder, f"{prefix}{i}.npy")
        try:
            np.save(path, np.asarray(a))
        except Exception:
            return None
        out.append((name, path))
    return out


def run(lathe, model, inputs, outputs, tolerance):
    pins, dims = [], []
    for _ in range(8):
        line = [lathe, "run", model] + dims
        for name, path in inputs:
            line += ["--pin" if name in pins else "--input", f"{name}={path}"]
        for name, path in outputs:
            line += ["--expect", f"{name}={path}"]
        if outputs:
            line += ["--rtol", str(tolerance[0]), "--atol", str(tolerance[1])]
        p = subprocess.run(line, capture_output=True, text=True, timeout=300)
        message = p.stderr + p.stdout
        asked = set(re.findall(r"\(--pin (\S+?)=F.npy fixes it\)", message)) - set(pins)
        unknown = re.search(r"the network has no input '(.*?)'", message)
        left = [(n, f) for n, f in inputs if not (unknown and n == unknown[1] and np.load(f).size == 0)]
        if len(left) < len(inputs):  # nobody needs it, and it has no elements: it is left out
            inputs = left
            continue
        open_dims = re.findall(r" (--dim) (\S+=\d+)", message)
        if "dimension" in message and open_dims and not dims:
            dims = [w for pair in open_dims for w in pair]
            continue
        if p.returncode == 0 or not asked:
            return p.returncode, message
        pins += asked
    return p.returncode, message


def one(job):
    lathe, work, name, file, sets = job
    folder = tempfile.mkdtemp(prefix="t", dir=work)
    try:
        if file is None:
            case, sets = sets, None
            model = case.model
            file = os.path.join(folder, name + ".onnx")
            onnx.save(model, file)
            data = [(list(i), list(o)) for i, o in case.data_sets]
            tolerance = max(case.rtol or 0, 1e-3), max(case.atol or 0, 1e-5)
        else:
            model, data, tolerance = onnx.load(file), [], (1e-3, 1e-4)
            for s in sets:
                load = lambda what: [read(p) for p in sorted(glob.glob(os.path.join(s, what + "_*.pb")), key=lambda p: int(re.findall(r"(\d+)\.pb", p)[0]))]
                try:
                    data.append((load("input"), load("output")))
                except Exception:
                    return name, "refused", "no tensors"
        own = {t.name for t in model.graph.initializer}
        names = [i.name for i in model.graph.input if i.name not in own] or []
        results = [o.name for o in model.graph.output]
        dims = []
        for inputs, outputs in data:
            ins, outs = arrays_of(inputs, names, folder, "i"), arrays_of(outputs, results, folder, "o")
            if ins is None or outs is None:
                code, message = run(lathe, file, [], [], tolerance)
                if code == 0:
                    return name, "failed", "accepted what is no tensor"
            else:
                code, message = run(lathe, file, ins, outs, tolerance)
            if code == 0:
                continue
            if "cannot be read:" in message or re.search(r"no element type here|should be at least 1|at least one|not a tensor|opset .* are read|no dtype|holds no numbers", message):
                return name, "refused", message
            return name, "failed", message
        return name, "passed", ""
    except subprocess.TimeoutExpired:
        return name, "failed", "took more than 300 s"
    except Exception as e:  # noqa: BLE001: one broken case is one failure
        return name, "failed", f"{type(e).__name__}: {e}"
    finally:
        subprocess.run(["rm", "-rf", folder])


def reason(message):
    m = re.search(r"\n  (\S+) `.*?` \((.*?)opset \d+\): (.*)", message)
    if m:
        return f"{m[1]}: {re.sub(r'`[^`]*`', '`…`', m[3])[:70]}"
    m = re.search(r"is of (\w+), which is no element type|values here have at least one|not a tensor", message)
    return m[0][:60] if m else message.strip().split("\n")[0][-90:]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("lathe")
    a.add_argument("--kind", default="node", choices=["node", "light", "simple", "pytorch-converted", "pytorch-operator"])
    a.add_argument("--only", default="")
    a.add_argument("--jobs", type=int, default=2)
    a.add_argument("--work", default=tempfile.gettempdir())
    a.add_argument("--verbose", action="store_true")
    o = a.parse_args()
    jobs = [(o.lathe, o.work, n, f, s) for n, f, s in cases(o.kind) if o.only in n]
    count, refused, failed, by_op = collections.Counter(), collections.Counter(), [], collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        for name, state, message in pool.map(one, jobs):
            count[state] += 1
            if state == "refused":
                refused[reason(message)] += 1
            if state == "failed":
                failed.append((name, message))
            if o.verbose:
                print(name, state, message.strip())
    for r, n in refused.most_common():
        print(f"refused {n:5d}  {r}")
    for name, message in failed:
        print(f"FAILED {name}: {message.strip()[:600]}")
    print(f"{o.kind}: {sum(count.values())} tests, {count['passed']} passed, {count['refused']} refused, {count['failed']} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
