"""contenders.py: who takes part, and how each is set up: single precision throughout, denormals kept, T threads, images as NCHW.

An instruction set can be asked for: {None: the machine's best}. Then peers that choose theirs themselves are left out.

Whatever cannot be imported is left out; `versions` says what is there. Names here are the columns of the report.
"""
import importlib, importlib.metadata
import numpy as np

PEERS = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "PyTorch": "torch"}  # and the package of each
ENVIRONMENT = {None: {}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
CANNOT_BE_TOLD = {None: [], "avx2": ["ONNX Runtime"]}
LATHE_OPTIONS = {None: [], "avx2": ["--cpu", "x86-64-v3"]}


def load(isa):
    """{name: module} of the peers that can be imported, {name: why not} of the others."""
    there, missing = {}, {}
    for name, package in PEERS.items():
        if name in CANNOT_BE_TOLD[isa]:
            missing[name] = f"it cannot be told to use {isa} alone"
            continue
        try: there[name] = importlib.import_module(package)
        except Exception as e: missing[name] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
    return there, missing


def versions(): # of what is installed
    found = {}
    for name, package in {"NumPy": "numpy", "ONNX": "onnx", **PEERS}.items():
        try: found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError: pass
    return found


def onnxruntime_session(path, threads):
    """All optimisations (the default), one pool of `threads`, whose threads spin between nodes (the default)."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnxruntime_call(path, x, threads, shape):
    """Input and output are bound: a call copies nothing."""
    import onnxruntime as ort
    session, y = onnxruntime_session(path, threads), np.empty(shape, np.float32)
    binding, given, made = session.io_binding(), ort.OrtValue.ortvalue_from_numpy(x), ort.OrtValue.ortvalue_from_numpy(y)
    binding.bind_ortvalue_input("x", given)
    binding.bind_ortvalue_output("y", made)
    def result():
        session.run_with_iobinding(binding)
        return made.numpy().copy()
    return lambda: session.run_with_iobinding(binding), result


def openvino_request(path, x, threads):
    """Latency hint, one stream; f32 is asked for, since where the CPU has bf16 its default is that."""
    import openvino as ov
    core = ov.Core()
    model = core.compile_model(core.read_model(str(path)), "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32",
        "CPU_DENORMALS_OPTIMIZATION": False})
    request = model.create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    return request


def openvino_call(path, x, threads):
    request = openvino_request(path, x, threads)
    def go(): request.infer(share_outputs=True)
    def result():
        go()
        return request.get_output_tensor(0).data.copy()
    return go, result


def called(go): return go, go  # a way whose call returns what is compared
