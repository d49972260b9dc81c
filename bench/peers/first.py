"""first.py: from a file to the first result, batch 1, on one core, the file in the page cache.

Lathe's time is that of the whole command `lathe run MODEL.onnx`, a process from start to end, without and with the cache of
finished code. The peers' is making a session of the same file and its first run, in a process that has started and loaded
the library already.
"""
import os, resource, statistics, subprocess, time
import numpy as np
import nets
from contenders import onnxruntime_session, openvino_request
from race import error, settle

NETWORKS, ROUNDS, NEAR = ("ResNet-50", "VGG-16"), 5, 1e-4


def command(context, path, *more, **env):
    out = context.folder / "out"
    args = [context.build / "lathe", "run", path, "--input", f"x={context.folder / 'x.npy'}", "--output-dir", out]
    args += [*context.lathe_options, *more]
    def go():
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **env})
        return lambda: np.load(out / "y.npy")
    return go


def by_onnxruntime(path, x):
    def go():
        y = onnxruntime_session(path, 1).run(None, {"x": x})[0]
        return lambda: y
    return go


def by_openvino(path, x):
    def go():
        request = openvino_request(path, x, 1)
        request.infer()
        return lambda: request.get_output_tensor(0).data
    return go


def ways_of(context, path, x):
    ways = {"Lathe": command(context, path, "--no-cache"),
            "Lathe cached": command(context, path, LATHE_CACHE=str(context.folder / "cache"))}
    if "ONNX Runtime" in context.peers: ways["ONNX Runtime"] = by_onnxruntime(path, x)
    if "OpenVINO" in context.peers: ways["OpenVINO"] = by_openvino(path, x)
    return ways


def used():
    """Of the CPU, by this process and its children."""
    of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in of)


def time_of(go, clock):
    """(seconds, what gives the result)."""
    settle()
    clock = used if clock == "cpu" else time.perf_counter
    begin = clock()
    result = go()
    return clock() - begin, result


def first(context):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in NETWORKS[:1] if context.quick else NETWORKS:
        net = nets.build(name, 224)
        x = np.random.default_rng(1).standard_normal((1, *net.shape["x"]), np.float32)
        want, path = net.double(x), context.write(net, 1)
        np.save(context.folder / "x.npy", x)
        row = {"item": f"{name}, batch 1", "threads": 1, "gflop": 0, "ways": {}, "failed": {}}
        times = {}
        for round in range(ROUNDS):
            for way, go in ways_of(context, path, x).items():
                if way in row["failed"]: continue
                try:
                    taken, result = time_of(go, context.clock_name)
                    off = error(result(), want)
                    if not off <= NEAR: raise ArithmeticError(f"wrong: {off:.1e} from double precision")
                except Exception as e:
                    row["failed"][way] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
                    continue
                if round or way != "Lathe cached": times.setdefault(way, []).append(taken)  # the first call fills the cache
                row["ways"][way] = {"error": off}
        for way in list(row["ways"]):
            if way in row["failed"] or way not in times: del row["ways"][way]
            else:
                ms = [t * 1e3 for t in times[way]]
                row["ways"][way].update(ms=min(ms), median_ms=statistics.median(ms), calls=len(ms))
        yield row
