"""lathe.py: Lathe's C API over ctypes, as much as a bench needs: a model in this process, its buffers as NumPy arrays."""
import ctypes, pathlib
import numpy as np

KINDS = np.float32, np.float64, np.int32, np.int64, np.bool_  # lathe_dtype


class Error(ctypes.Structure):
    _fields_ = [("numbers", ctypes.c_int32 * 4), ("file", ctypes.c_char * 240), ("message", ctypes.c_char * 768)]


class Port(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("dim", ctypes.c_int64 * 8), ("bytes", ctypes.c_int64), ("offset", ctypes.c_int64), ("limit", ctypes.c_int64)]


class Library:
    def __init__(self, build):
        self.c = ctypes.CDLL(str(next(pathlib.Path(build).glob("src/driver/liblathe.so"))))
        text, pointer, size = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
        for name, result, *arguments in (
                ("version", text), ("load", pointer, text, text, pointer), ("parse", pointer, text, size, text, text, pointer),
                ("compile", pointer, pointer, text, pointer), ("open", pointer, pointer, text, pointer),
                ("buffer", pointer, pointer, text, pointer), ("bind", ctypes.c_int, pointer, text, pointer, size),
                ("call", ctypes.c_int, pointer, text), ("repack", ctypes.c_int, pointer), ("peak_gflops", ctypes.c_double, pointer),
                ("model_port", ctypes.c_int, pointer, text, size, pointer), ("graph_free", None, pointer),
                ("model_free", None, pointer), ("instance_free", None, pointer)):
            function = getattr(self.c, "lathe_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def need(self, function, *arguments):
        error = Error()
        result = function(*arguments, ctypes.byref(error))
        if not result: raise RuntimeError(error.message.decode())
        return result


class Model:
    """One entry ("run" or "train") of a network, compiled and opened. Source: a text, or a pathlib.Path of a file."""

    def __init__(self, library, source, entry="run", compile="", open=""):
        self.library, self.entry = library, entry.encode()
        if isinstance(source, pathlib.Path): self.graph = library.need(library.load, bytes(source), b"")
        else: self.graph = library.need(library.parse, source.encode(), len(source.encode()), b"bench", b"")
        self.model = library.need(library.compile, self.graph, f"--entry {entry} {compile}".encode())
        self.instance = library.need(library.open, self.model, open.encode())
        self.bound = {}

    def ports(self):
        port, i = Port(), 0
        while self.library.model_port(self.model, self.entry, i, ctypes.byref(port)):
            yield port.name.decode(), port.kind.decode(), KINDS[port.dtype], tuple(port.dim[:port.rank])
            i += 1

    def array(self, name):
        """The instance's own memory of a port."""
        kind, shape = next((kind, shape) for port, _, kind, shape in self.ports() if port == name)
        at = self.library.buffer(self.instance, name.encode(), None)
        if not at: raise RuntimeError(f"no buffer {name}")
        return np.ctypeslib.as_array(ctypes.cast(at, ctypes.POINTER(np.ctypeslib.as_ctypes_type(kind))), shape or (1,))

    def bind(self, name, array):
        self.bound[name] = array  # lives as long as the model
        if self.library.bind(self.instance, name.encode(), array.ctypes.data, array.nbytes): raise RuntimeError(f"cannot bind {name}")

    def caller(self):
        call, instance, entry = self.library.call, self.instance, self.entry
        def go():
            status = call(instance, entry)
            if status: raise RuntimeError(f"lathe_call returned {status}")
        return go

    def peak(self): return self.library.peak_gflops(self.model)

    def close(self):
        self.library.instance_free(self.instance), self.library.model_free(self.model), self.library.graph_free(self.graph)
