#!/usr/bin/env python3
"""peer.py LATHE [NETWORK…]: calls of networks of tests/models beside onnxruntime's, batch 1, f32, one thread.

The same network is written for ONNX here, with weights that are drawn (what they are does not matter to the time). Both take
turns, five rounds of a second each; the best call of all rounds counts. Needs `pip install onnxruntime onnx numpy`.
"""
import json, os, pathlib, subprocess, sys, time
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROUNDS, SECONDS = 5, 1.0
MODELS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "models"


class Net:
    """An ONNX graph under construction; every method appends a node and returns the name of its result."""

    def __init__(self):
        self.node, self.weight, self.random = [], [], numpy.random.default_rng(0)

    def param(self, *shape, value=None):
        name = f"p{len(self.weight)}"
        array = self.random.standard_normal(shape) / max(1, numpy.prod(shape[1:])) ** 0.5 if value is None else numpy.full(shape, value)
        self.weight.append(numpy_helper.from_array(array.astype(numpy.float32), name))
        return name

    def add(self, op, *inputs, **attrs):
        name = f"v{len(self.node)}"
        self.node.append(helper.make_node(op, list(inputs), [name], **attrs))
        return name

    def conv(self, x, channels, out, kernel, stride=1, pad=0, bias=True):
        weights = [self.param(out, channels, kernel, kernel)] + ([self.param(out)] if bias else [])
        return self.add("Conv", x, *weights, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def norm(self, x, channels):
        scale, shift, mean = self.param(channels, value=1), self.param(channels, value=0), self.param(channels, value=0)
        return self.add("BatchNormalization", x, scale, shift, mean, self.param(channels, value=1))

    def linear(self, x, size, out):
        return self.add("Gemm", x, self.param(out, size), self.param(out), transB=1)

    def relu(self, x):
        return self.add("Relu", x)

    def pool(self, x, kernel, stride, pad=0):
        return self.add("MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def model(self, shape, result):
        y = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.node, "g", [x], [y], self.weight)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8).SerializeToString()


def lenet5():
    n, shape = Net(), [1, 1, 28, 28]
    h = n.pool(n.relu(n.conv("x", 1, 6, 5, pad=2)), 2, 2)
    h = n.add("Flatten", n.pool(n.relu(n.conv(h, 6, 16, 5)), 2, 2))
    h = n.relu(n.linear(n.relu(n.linear(h, 400, 120)), 120, 84))
    return n.model(shape, n.linear(h, 84, 10)), shape


def resnet18():
    n, shape = Net(), [1, 3, 224, 224]

    def cbn(x, channels, out, kernel=3, stride=1, pad=1):
        return n.norm(n.conv(x, channels, out, kernel, stride, pad, bias=False), out)

    def basic(x, skip, channels, out, stride=1):
        h = n.relu(cbn(x, channels, out, stride=stride))
        return n.relu(n.add("Add", cbn(h, out, out), skip))

    h, channels = n.pool(n.relu(cbn("x", 3, 64, 7, 2, 3)), 3, 2, 1), 64
    for _ in range(2):
        h = basic(h, h, 64, 64)
    for out in (128, 256, 512):
        h = basic(h, cbn(h, channels, out, 1, 2, 0), channels, out, 2)
        h, channels = basic(h, h, out, out), out
    return n.model(shape, n.linear(n.add("Flatten", n.add("GlobalAveragePool", h)), 512, 1000)), shape


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def best_of_peer(run, x):
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run.run(None, {"x": x})
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def best_of_lathe(lathe, name):
    command = [lathe, "bench", str(MODELS / f"{name}.lathe"), "--batch", "1", "--threads", "1", "--seconds", str(SECONDS), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["best_ms"]


def main():
    lathe, networks = sys.argv[1], {"lenet5": lenet5, "resnet18": resnet18}
    for name in sys.argv[2:] or networks:
        model, shape = networks[name]()
        run, x = session(model), numpy.random.default_rng(1).standard_normal(shape).astype(numpy.float32)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(best_of_lathe(lathe, name))
            theirs.append(best_of_peer(run, x))
        print(f"{name:9} lathe {min(ours):8.3f} ms   onnxruntime {onnxruntime.__version__} {min(theirs):8.3f} ms   "
              f"lathe takes {min(ours) / min(theirs):.2f} of its time", flush=True)


if __name__ == "__main__":
    main()
