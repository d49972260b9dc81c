#!/usr/bin/env python3
"""Writes the standard's own backend tests as files: onnx_conformance.py FOLDER. The program `conformance` runs them (./dev conformance).

FOLDER/KIND/NAME/ gets a model.onnx and test_data_set_I/{input,output}_J.pb of each test: node, simple, pytorch-converted,
pytorch-operator, and light, whose inputs are what the standard's runner makes. Needs the packages onnx and numpy."""
import glob, os, shutil, sys
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

DATA = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")


def write(path, message):
    with open(path, "wb") as f:
        f.write(message.SerializeToString())


def message_of(value, name):
    """A value of a test as the standard's files have it."""
    if hasattr(value, "SerializeToString"):
        return value
    if isinstance(value, dict):
        return numpy_helper.from_dict(value, name)
    if isinstance(value, (list, tuple)):
        return numpy_helper.from_list(value, name)
    return numpy_helper.from_array(np.asarray(value), name)


def write_values(folder, what, values, names):
    for i, (value, name) in enumerate(zip(values, names)):
        try:
            message = numpy_helper.from_optional(None, name) if value is None else message_of(value, name)
            write(os.path.join(folder, f"{what}_{i}.pb"), message)
        except Exception as e:  # noqa: BLE001: an empty file is no tensor, and the case must be refused
            print(f"{folder}: {what} {i}: {e}", file=sys.stderr)
            open(os.path.join(folder, f"{what}_{i}.pb"), "wb").close()


def free_inputs(graph):
    own = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in own]


def write_node_tests(to):
    for case in collect_testcases(None):
        folder = os.path.join(to, case.name)
        os.makedirs(folder)
        write(os.path.join(folder, "model.onnx"), case.model)
        for k, (inputs, outputs) in enumerate(case.data_sets):
            at = os.path.join(folder, f"test_data_set_{k}")
            os.makedirs(at)
            write_values(at, "input", inputs, [i.name for i in free_inputs(case.model.graph)])
            write_values(at, "output", outputs, [i.name for i in case.model.graph.output])


def write_light_tests(to):
    for path in glob.glob(os.path.join(DATA, "light", "*.onnx")):
        folder = os.path.join(to, os.path.basename(path)[:-5])
        at = os.path.join(folder, "test_data_set_0")
        os.makedirs(at)
        shutil.copyfile(path, os.path.join(folder, "model.onnx"))
        shutil.copyfile(path.replace(".onnx", "_output_0.pb"), os.path.join(at, "output_0.pb"))
        for k, i in enumerate(free_inputs(onnx.load(path).graph)):
            shape = [d.dim_value or 1 for d in i.type.tensor_type.shape.dim]
            x = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
            write(os.path.join(at, f"input_{k}.pb"), numpy_helper.from_array(x, i.name))


def main():
    to = sys.argv[1]
    for kind in ["simple", "pytorch-converted", "pytorch-operator"]:
        shutil.copytree(os.path.join(DATA, kind), os.path.join(to, kind))
    write_node_tests(os.path.join(to, "node"))
    write_light_tests(os.path.join(to, "light"))


if __name__ == "__main__":
    main()
