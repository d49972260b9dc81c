#!/usr/bin/env python3
"""Exported models, held against ONNX's checker and ONNX Runtime: onnx_export.py BUILD [--only TEXT] [--work DIR] [--verbose].

BUILD is a build folder (its src/driver/liblathe.so is called). Every network of tests/models, tests/cases, examples and tests/onnx, and a
network for each call of tests/ops/cases.def in each element type, is exported as the entries run, grad and train (with each
optimizer), as far as it has them. Each file must pass onnx.checker with full_check and strict shapes, and give what compiled
code gives from the same inputs and weights, here and (for steps) once more from the weights that the first step gave. What
ONNX Runtime has no kernel for is computed by the standard's own reference evaluator. One line of totals by kind at the end;
exit code 1 when anything differs. Needs the packages numpy, onnx and onnxruntime.
"""
import argparse, collections, ctypes, glob, os, re, subprocess, sys, tempfile, warnings
import numpy as np
import onnx
import onnxruntime as ort

warnings.filterwarnings("ignore")
np.seterr(all="ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
DTYPES = [np.float32, np.float64, np.int32, np.int64, np.bool_]
ONNX_DTYPES = {1: np.float32, 11: np.float64, 6: np.int32, 7: np.int64, 9: np.bool_}
ADAPTIVE = ["adagrad", "adadelta", "adam"]  # of a gradient that is noise they make a whole step: one element in a hundred may be that
OPTIMIZERS = ["sgd", "momentum"] + ADAPTIVE
# Where ONNX Runtime is known to give something else, and why.
KNOWN = {"tests/cases/mean_inline.lathe": "it adds 262,144 numbers in one chain", "tests/cases/weight_inf.lathe": "0 times an infinite weight, beside the image, is NaN in Lathe"}


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int32), ("line", ctypes.c_int32), ("column", ctypes.c_int32), ("more", ctypes.c_int32),
                ("file", ctypes.c_char * 240), ("message", ctypes.c_char * 768)]


class Port(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("dim", ctypes.c_int64 * 8), ("bytes", ctypes.c_int64), ("offset", ctypes.c_int64), ("limit", ctypes.c_int64)]


class Refused(Exception):
    pass


class Lathe:
    def __init__(self, build):
        self.lib = ctypes.CDLL(os.path.join(build, "src/driver/liblathe.so"))
        for name in ["lathe_load", "lathe_parse", "lathe_compile", "lathe_open", "lathe_buffer"]:
            getattr(self.lib, name).restype = ctypes.c_void_p

    def call(self, name, *args):
        e = Error()
        p = getattr(self.lib, name)(*[ctypes.c_void_p(a) if isinstance(a, int) else a for a in args], ctypes.byref(e))
        if not p:
            raise Refused(e.message.decode())
        return p

    def load(self, path, opts):
        return self.call("lathe_load", path.encode(), opts.encode())

    def parse(self, text):
        b = text.encode()
        e = Error()
        g = self.lib.lathe_parse(b, ctypes.c_size_t(len(b)), b"case", b"", ctypes.byref(e))
        if not g:
            raise Refused(e.message.decode())
        return g

    def export(self, g, instance, opts):
        e = Error()
        status = self.lib.lathe_export(ctypes.c_void_p(g), ctypes.c_void_p(instance), opts.encode(), ctypes.byref(e))
        if status:
            raise Refused(e.message.decode())

    def ports(self, m, entry):
        i, out = 0, []
        while True:
            p = Port()
            if not self.lib.lathe_model_port(ctypes.c_void_p(m), entry.encode(), ctypes.c_size_t(i), ctypes.byref(p)):
                return out
            out.append((p.name.decode(), p.kind.decode(), DTYPES[p.dtype], tuple(p.dim[: p.rank]), p.limit))
            i += 1

    def buffer(self, s, name, dtype, shape):
        n = ctypes.c_size_t()
        p = self.lib.lathe_buffer(ctypes.c_void_p(s), name.encode(), ctypes.byref(n))
        count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * count).from_address(p), dtype).reshape(shape)


def draw(name, dtype, shape, limit, flags, rng):
    if dtype == np.bool_:
        return rng.random(shape) > 0.5
    if np.issubdtype(dtype, np.integer):
        return rng.integers(-5 if "signs" in flags else 0, min(limit or (6 if "signs" in flags else 3), 6), shape).astype(dtype)
    if "positive" in flags:
        return (rng.random(shape) * 2 + 0.5).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def reference(model, feed, names):
    from onnx.reference import ReferenceEvaluator
    return ReferenceEvaluator(model).run(names, feed)


def evaluate(path, feed):
    """What the model gives, and whose answer it is."""
    model = onnx.load(path)
    names = [o.name for o in model.graph.output]
    o = ort.SessionOptions()
    o.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, feed))), "ort"
    except Exception as e:
        if "NOT_IMPLEMENTED" not in str(e) and "Could not find an implementation" not in str(e):
            raise
    if any(n.op_type == "MaxPool" and len(n.output) > 1 for n in model.graph.node):
        return None, "nobody"  # the reference counts places wrong where the border is uneven
    try:
        return dict(zip(names, reference(model, feed, names))), "reference"
    except (ValueError, TypeError):  # its ConvTranspose knows no groups, its Max no ties of some kinds
        return None, "nobody"


def differs(got, want, rtol, noise=0.0, least=1e-3, outliers=0.0):
    """Floats may be off by rtol of the largest element (of at least `least`), and by what noise makes of them; a share of `outliers`
    by any."""
    got = np.asarray(got)
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"is {got.dtype}{list(got.shape)}, should be {want.dtype}{list(want.shape)}"
    if not np.issubdtype(want.dtype, np.floating):
        bad = np.argwhere(got != want)
        return f"differs in {len(bad)} of {got.size}: {got[tuple(bad[0])]}, should be {want[tuple(bad[0])]}" if len(bad) else None
    a, b = got.astype(np.float64), want.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return "has NaN in other places"
    fine = np.isfinite(b)
    if not np.array_equal(a[~fine & ~np.isnan(b)], b[~fine & ~np.isnan(b)]):
        return "has infinities in other places"
    size = np.max(np.abs(b[fine]), initial=0)
    off = np.max(np.abs(a[fine] - b[fine]), initial=0)
    limit = rtol * max(size, least) + noise
    return None if off <= limit or np.mean(np.abs(a[fine] - b[fine]) > limit) <= outliers else f"is off by {off:.3g} of {size:.3g}"


class Run:
    def __init__(self, lathe, work, verbose):
        self.lathe, self.work, self.verbose = lathe, work, verbose
        self.count = collections.Counter()
        self.kinds = collections.Counter()
        self.nodes = collections.Counter()

    def one(self, kind, name, g, entry, options="", flags=(), rtol=None):
        """Export one entry of a graph, check the file, and compare."""
        L = self.lathe
        path = os.path.join(self.work, "m.onnx")
        what = f"{kind} {name} {entry} {options}".rstrip()
        spec = f"--entry {entry} {options}"
        base = entry.split(":")[0].split("=")[0]
        try:
            m = L.call("lathe_compile", g, f"{spec}".encode())
        except Refused as e:
            return  # no such entry of this network
        s = L.call("lathe_open", m, b"--seed 3")
        try:
            L.export(g, s, f"-o {path} {spec}")
        except Refused as e:
            self.count["refused"] += 1
            self.kinds[kind, "refused"] += 1
            if self.verbose or "random" not in str(e):
                print(f"refused: {what}: {e}")
            return
        try:
            problem = self.compare(path, m, s, base, flags, rtol, 0.01 if options.endswith(tuple(ADAPTIVE)) else 0)
        except Exception as e:
            problem = f"{type(e).__name__}: {str(e)[:300]}"
        finally:
            L.lib.lathe_instance_free(ctypes.c_void_p(s))
            L.lib.lathe_model_free(ctypes.c_void_p(m))
        known = problem and KNOWN.get(name.split(":")[0])
        verdict = "known" if known else "differs" if problem else "same"
        self.count[verdict] += 1
        self.kinds[kind, verdict] += 1
        if problem:
            print(f"{verdict}: {what}: {problem}" + (f" ({known})" if known else ""))
        elif self.verbose:
            print(f"same: {what}")

    def step(self, s, entry, ports, feed, weights):
        """Inputs set, one call: outputs and weights afterwards."""
        L = self.lathe
        for name, kind, dtype, shape, _ in ports:
            if kind == "input":
                L.buffer(s, name, dtype, shape)[...] = feed[name]
        for n, v in weights.items():
            L.buffer(s, n, v.dtype, v.shape)[...] = v
        L.lib.lathe_repack(ctypes.c_void_p(s))
        status = L.lib.lathe_call(ctypes.c_void_p(s), entry.encode())
        if status:
            raise Refused(f"lathe_call gave {status}")
        return {name: L.buffer(s, name, dtype, shape).copy() for name, kind, dtype, shape, _ in ports if kind != "input" and kind != "hyper"}

    def noise(self, s, entry, ports, feed, weights, want, rng):
        """How far outputs move when all inputs and weights move by some units in their last places: some gradients (those that
        vanish, those of statistics of few numbers) are noise in f32, whoever computes them."""
        stir = lambda v: (v * (1 + 1e-6 * rng.standard_normal(v.shape))).astype(v.dtype) if v.dtype == np.float32 else v
        most = {n: 0.0 for n in want}
        for _ in range(3):
            other = self.step(s, entry, ports, {n: stir(v) for n, v in feed.items()}, {n: stir(v) for n, v in weights.items()})
            for n in want:
                if want[n].dtype == np.float32:
                    with np.errstate(all="ignore"):
                        d = np.abs(other[n].astype(np.float64) - want[n].astype(np.float64))
                        most[n] = max(most[n], float(np.max(d[np.isfinite(d)], initial=0)))
        return most

    def compare(self, path, m, s, entry, flags, rtol, outliers):
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        self.nodes.update(n.op_type for n in model.graph.node)
        L, rng = self.lathe, np.random.default_rng(5)
        ports = L.ports(m, entry)
        feed = {name: np.asarray(draw(name, dtype, shape, limit, flags, rng), dtype=dtype)
                for name, kind, dtype, shape, limit in ports if kind == "input"}
        wanted = [i.name for i in model.graph.input]
        weights = {name: L.buffer(s, name, dtype, shape).copy() for name, kind, dtype, shape, _ in ports if kind in ("param", "state")}
        state = {}
        for step in range(2 if entry == "train" else 1):
            got, by = evaluate(path, {**{k: v for k, v in feed.items() if k in wanted}, **state})
            if got is None:
                self.count["checked only"] += 1
                return None
            all = self.step(s, entry, ports, feed, weights)
            for n in weights:
                if n + ".next" not in got and not np.array_equal(weights[n], all[n], equal_nan=True):
                    return f"{n} is updated, and the model has no {n}.next"
            want = {n: v for n, v in all.items() if n not in weights}
            want.update({n[:-5] + ".next": all[n[:-5]] for n in got if n.endswith(".next")})
            if set(want) != set(got):
                return f"has the outputs {sorted(got)}, should have {sorted(want)}"
            largest = max([float(np.max(np.abs(v[np.isfinite(v)]), initial=0)) for v in want.values() if v.dtype == np.float32] + [0.0])
            noise = None
            for name in want:
                tolerance = rtol or (1e-10 if want[name].dtype == np.float64 else 1e-4 if entry == "run" else 2e-4)
                if by == "reference":
                    tolerance = max(tolerance, 1e-6)  # its erf is no better
                if not differs(got[name], want[name], tolerance, 0.0, max(1e-3, 0.01 * largest)):
                    continue
                if noise is None:
                    noise = self.noise(s, entry, ports, feed, weights, all, rng)
                    self.count["held against noise"] += 1
                moved = noise[name[:-5] if name.endswith(".next") else name]
                problem = differs(got[name], want[name], tolerance, 4 * moved, max(1e-3, 0.01 * largest), outliers)
                if problem:
                    return f"step {step}, by {by}: {name} {problem} (noise moves it by {moved:.3g})"
            state = {n: v for n, v in got.items() if n.endswith(".next")}
            weights = {n: np.asarray(state.get(n + ".next", weights[n])) for n in weights}
            state = {n[:-5]: v for n, v in state.items()}
            self.count["by " + by] += 1
        return None


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 1e-45, 2.5, -2.5, 0.5, -0.5, 3e9, -3e9, 1e19, -1e19, 2147483647, 2147483520], dtype=np.float32)
UNARY = ["-x", "x * 0", "clip(x, lo=-1, hi=1)", "clip(x, lo=0)", "clip(x, hi=6)", "reduce_max(x)", "argmax(x)", "softmax(x)", "sum(x)"]
UNARY += [f"{op}(x)" for op in "abs sign exp log sqrt tanh sigmoid softplus erf atan sin cos floor round relu".split()]
CASTS = [f"cast(x, dtype={t})" for t in ("f32", "f64", "i32", "i64", "bool")]
BINARY = ["x + y", "x - y", "x * y", "max(x, y)", "min(x, y)", "less(x, y)", "less_equal(x, y)", "equal(x, y)", "select(less(x, y), x, y)", "x / y"]


def edges(run):
    """NaN, infinities, zeros with signs, numbers that no integer holds, the largest integers, division by 0, indices outside."""
    def one(call, **arrays):
        kinds = {np.dtype(np.float32): "f32", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64"}
        header = ", ".join(f"{n}: {kinds[v.dtype]}[{', '.join(map(str, v.shape))}]" for n, v in arrays.items())
        L = run.lathe
        g = L.parse(f"network t({header}) -> r {{ r = {call} }}")
        m = L.call("lathe_compile", g, b"")
        s = L.call("lathe_open", m, b"")
        path = os.path.join(run.work, "m.onnx")
        L.export(g, s, f"-o {path}")
        onnx.checker.check_model(path, full_check=True)
        want, (got, by) = run.step(s, "run", L.ports(m, "run"), arrays, {}), evaluate(path, arrays)
        problem = differs(got["r"], want["r"], 1e-5)
        run.count["differs" if problem else "same"] += 1
        run.kinds["edges", "differs" if problem else "same"] += 1
        run.count["by " + by] += 1
        if problem:
            print(f"differs: edges {call} of {header}: {problem}")
    pairs = lambda v: [w.ravel().copy() for w in np.meshgrid(v, v)]
    x, y = pairs(SPECIAL)
    for call in UNARY + CASTS:
        one(call, x=SPECIAL)
    for call in BINARY + ["pow(x, y)"]:
        one(call, x=x, y=y)
    for t in (np.int32, np.int64):
        most = np.iinfo(t)
        v = np.array([0, 1, -1, 2, -2, 7, -7, most.max, most.min], dtype=t)
        x, y = pairs(v)
        for call in ["-x", "abs(x)", "sign(x)"] + CASTS:
            one(call, x=v)
        for call in BINARY[:-1]:
            one(call, x=x, y=y)
        inside = (x != most.min) | (y != -1)
        one("x / y", x=x[inside], y=y[inside])


def hunt(run, build, first, last):
    for seed in range(first, last):
        text = subprocess.run([os.path.join(build, "tests/hunt"), "--show", "--seed", str(seed)], capture_output=True, text=True).stdout
        g = run.lathe.parse(text)
        own = re.search(r"opts=(.*?)--entry ((?:train|grad)\S*)(.*)", text)  # how it is trained or differentiated
        options = re.sub(r"--halves|--entry \S+|--loss \S+=", "", own[1] + own[3]) if own else ""
        for entry, options in [("run", ""), ("grad", "")] + ([(own[2], options)] if own else []):
            run.one("random networks", f"seed {seed}", g, entry, options)
        run.lathe.lib.lathe_graph_free(ctypes.c_void_p(g))


def standard(run, folder, only):
    """The standard's own tests (written by onnx_conformance.py): those that are read are written again, and ONNX Runtime must give the
    standard's results from what was written."""
    L = run.lathe
    load = lambda p: onnx.numpy_helper.to_array(onnx.load_tensor(p))
    for path in sorted(glob.glob(os.path.join(folder, "*", "*", "model.onnx"))):
        name, kind = os.path.basename(os.path.dirname(path)), "standard " + os.path.basename(os.path.dirname(os.path.dirname(path)))
        if only not in name:
            continue
        try:
            graph = onnx.load(path).graph
            own = {t.name for t in graph.initializer}
            names = [i.name for i in graph.input if i.name not in own]
            at = os.path.join(os.path.dirname(path), "test_data_set_0")
            feed = {n: load(os.path.join(at, f"input_{i}.pb")) for i, n in enumerate(names) if os.path.exists(os.path.join(at, f"input_{i}.pb"))}
            want = {o.name: load(os.path.join(at, f"output_{i}.pb")) for i, o in enumerate(graph.output)}
        except Exception:
            continue  # no tensors
        opts, again, g = "", os.path.join(run.work, "again.onnx"), None
        for _ in range(8):
            try:
                g = L.load(path, opts)
                break
            except Refused as e:
                asked = set(re.findall(r"\(--pin (\S+?)=F.npy fixes it\)", str(e))) | set(n for n in feed if feed[n].size == 0 and f"`{n}`" in str(e))
                asked = {n for n in asked if n in feed and f"--pin {n}=" not in opts}
                dims = re.findall(r"(--dim \S+=\d+)", str(e)) if "--dim" not in opts else []
                if not asked and not dims:
                    break
                for n in asked:
                    file = os.path.join(run.work, f"pin{len(opts)}.npy")
                    np.save(file, feed[n])
                    opts += f" --pin {n}={file}"
                opts += "".join(" " + d for d in dims)
        if g is None:
            run.kinds[kind, "refused"] += 1  # not read
            continue
        try:
            L.export(g, 0, f"-o {again}")
            onnx.checker.check_model(again, full_check=True)
            inputs = {i.name for i in onnx.load(again).graph.input}
            got, by = evaluate(again, {n: v for n, v in feed.items() if n in inputs})
            problem = None
            for n, v in want.items() if got else ():
                if v.dtype in (np.float32, np.float64, np.int32, np.int64, np.bool_):
                    problem = problem or (differs(got[n], v, 1e-3) and f"by {by}: {n} {differs(got[n], v, 1e-3)}")
            run.count["by " + by] += 1
        except Exception as e:
            problem = f"{type(e).__name__}: {str(e)[:300]}"
        L.lib.lathe_graph_free(ctypes.c_void_p(g))
        run.count["differs" if problem else "same"] += 1
        run.kinds[kind, "differs" if problem else "same"] += 1
        if problem:
            print(f"differs: {kind} {name}: {problem}")


def networks(path):
    text = open(path).read()
    return re.findall(r"^network ([A-Za-z0-9_]+)(\[[^\]]*\])?", text, re.M)


def cases():
    """(op, inputs, statements, call, flags) of tests/ops/cases.def"""
    text = open(os.path.join(ROOT, "tests/ops/cases.def")).read()
    string = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
    for op, inputs, call, flags in re.findall(r"^CASE\((\w+),\s*" + string + r",\s*" + string + r",\s*([^)\n]*(?:\([^)]*\))?[^)\n]*)\)", text, re.M):
        join = lambda s: "".join(bytes(x, "utf-8").decode("unicode_escape") for x in re.findall(r'"((?:[^"\\]|\\.)*)"', s))
        yield op, join(inputs), join(call), flags


def case_graph(lathe, inputs, call, dtype):
    """An op may have up to four results."""
    *before, last = call.split("|")
    body = "\n".join("  " + b.strip() for b in before)
    error = None
    for n in range(1, 5):
        names = ", ".join(f"r{i}" for i in range(n))
        try:
            return lathe.parse(f"network t({inputs}) -> {names} {{\n{body}\n  {names} = {last.strip()}\n}}\n".replace("$", dtype))
        except Refused as e:
            error = error or e
    raise error


def totals(run):
    kinds = sorted({k for k, _ in run.kinds})
    for k in kinds:
        print(f"{k}: " + ", ".join(f"{run.kinds[k, w]} {w}" for w in ("same", "differs", "known", "refused")))
    print("nodes written: " + ", ".join(f"{n} {c}" for n, c in sorted(run.nodes.items())))
    print(f"{run.count['same']} same, {run.count['differs']} differ, {run.count['known']} known to, {run.count['refused']} refused ({run.count['by ort']} calls of ONNX Runtime, {run.count['by reference']} of the reference, {run.count['checked only']} by the checker only; {run.count['held against noise']} where noise decides)")
    return 1 if run.count["differs"] else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build")
    p.add_argument("--only", default="")
    p.add_argument("--work")
    p.add_argument("--hunt", metavar="FROM:TO", help="only the random networks of these seeds (BUILD/tests/hunt makes them)")
    p.add_argument("--standard", help="a folder that onnx_conformance.py has written: only its models, written again")
    p.add_argument("--verbose", action="store_true")
    a = p.parse_args()
    lathe = Lathe(a.build)
    run = Run(lathe, a.work or tempfile.mkdtemp(), a.verbose)
    if a.hunt:
        hunt(run, a.build, *map(int, a.hunt.split(":")))
        return totals(run)
    if a.standard:
        standard(run, a.standard, a.only)
        return totals(run)
    for folder in ["tests/models", "tests/cases", "examples", "tests/onnx"]:
        for path in sorted(glob.glob(os.path.join(ROOT, folder, "**", "*.lathe"), recursive=True) + glob.glob(os.path.join(ROOT, folder, "*.onnx"))):
            text = path.endswith(".lathe")
            for network, dims in networks(path) if text else [("", "")]:
                name = os.path.relpath(path, ROOT) + (":" + network if text else "")
                if a.only not in name:
                    continue
                opts = (f"--network {network} " if text else "") + ("--batch 2" if "N" in dims or not text else "")
                g = None
                for dims in [opts, opts + " --dim rows=2 --dim x.1=6", opts.replace("--batch 2", "")]:
                    try:
                        g = lathe.load(path, dims)
                        break
                    except Refused as e:
                        problem = e
                if g is None:
                    if a.verbose:
                        print(f"not read: {name}: {problem}")
                    continue
                # ResNet-50: one optimizer, as a step takes minutes
                for entry, options in [("run", ""), ("grad", ""), ("grad", "--mode train")] + [("train", "--optimizer " + o) for o in OPTIMIZERS[: 1 if "resnet50" in name else None]] + [("train", "--loss mse --weight-decay 0.1 --clip-norm 0.5")]:
                    run.one("networks", name, g, entry, options)
                lathe.lib.lathe_graph_free(ctypes.c_void_p(g))
    for op, inputs, call, flags in cases():
        name = f"{op}: {call} of {inputs}"
        if a.only not in name:
            continue
        types = ["f32", "f64"] + (["i32", "i64"] if "INTS" in flags else []) + (["bool"] if "BOOLS" in flags else [])
        for dtype in types:
            try:
                g = case_graph(lathe, inputs, call, dtype)
            except Refused as e:
                print(f"not read: {name} in {dtype}: {e}")
                run.count["differs"] += 1
                continue
            how = (["positive"] if "POSITIVE" in flags else []) + (["signs"] if op in ("div", "sign", "abs", "gather", "scatter_add", "take") else [])
            for entry in ["run", "grad"] if dtype in ("f32", "f64") else ["run"]:
                run.one("ops in " + dtype, name, g, entry, flags=how, rtol=None if dtype == "f64" else 2e-4 if entry == "grad" else 2e-5)
            lathe.lib.lathe_graph_free(ctypes.c_void_p(g))
    if a.only in "edges":
        edges(run)
    return totals(run)


if __name__ == "__main__":
    sys.exit(main())
