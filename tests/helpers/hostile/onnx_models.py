"""Hostile ONNX."""

import numpy as np


def model(make, **options):
    """Return a function that writes a model of what `make` returns."""

    def write(path):
        import onnx
        from onnx import helper

        nodes, initializers, functions = make(onnx, helper, path.parent)
        graph = helper.make_graph(nodes, "g", [], [], initializers)
        imports = [helper.make_opsetid("", 14), helper.make_opsetid("f", 1)]
        made = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)
        path.write_bytes(made.SerializeToString())

    return write


def lstm(helper, name="rnn", w="W", r="R", hidden=4):
    return helper.make_node("LSTM", ["X", w, r], ["Y"], name=name, hidden_size=hidden)


def weight(onnx, name, shape):
    return onnx.numpy_helper.from_array(np.ones(shape, "f4"), name)


def declared(onnx, name, shape):
    return onnx.TensorProto(name=name, data_type=1, dims=shape)


def nested_functions(onnx, helper, folder):
    imports = [helper.make_opsetid("", 14), helper.make_opsetid("f", 1)]
    functions = []
    for k in range(24):
        op, domain = (f"F{k - 1}", "f") if k else ("Identity", "")
        nodes = [helper.make_node(op, ["x"], [f"y{n}"], domain=domain) for n in range(2)]
        functions.append(helper.make_function("f", f"F{k}", ["x"], ["y0"], nodes, imports))
    return [helper.make_node("F23", ["X"], ["Y"], domain="f")], [], functions


def wide_functions(count):
    def make(onnx, helper, folder):
        imports = [helper.make_opsetid("", 14)]
        inside = [helper.make_node("Identity", ["x"], [f"y{n}"]) for n in range(count)]
        function = helper.make_function("f", "F", ["x"], ["y0"], inside, imports)
        calls = [helper.make_node("F", ["X"], [f"Y{n}"], domain="f") for n in range(count)]
        return calls, [], [function]

    return make


def large_function(onnx, helper, folder):
    imports = [helper.make_opsetid("", 14)]
    value = weight(onnx, "", 2**16)
    inside = [helper.make_node("Constant", [], ["y"], value=value)]
    function = helper.make_function("f", "F", ["x"], ["y"], inside, imports)
    calls = [helper.make_node("F", ["X"], [f"Y{n}"], domain="f") for n in range(5000)]
    return calls, [], [function]


def cyclic_functions(onnx, helper, folder):
    imports = [helper.make_opsetid("", 14), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function(
            "f", a, ["x"], ["y"], [helper.make_node(b, ["x"], ["y"], domain="f")], imports
        )
        for a, b in ("FG", "GF")
    ]
    return [helper.make_node("F", ["X"], ["Y"], domain="f")], [], functions


def huge_initializers(onnx, helper, folder):
    return [lstm(helper)], [declared(onnx, k, [1, 2**20, 2**20]) for k in "WR"], []


def expanded(op):
    def make(onnx, helper, folder):
        shape = onnx.numpy_helper.from_array(np.array([1, 2**16, 2**16]), "shape")
        nodes = [helper.make_node(op, ["shape"], ["W"]), lstm(helper)]
        return nodes, [shape, weight(onnx, "R", (1, 16, 4))], []

    return make


def shared_weights(onnx, helper, folder):
    nodes = [lstm(helper, f"n{k}", hidden=128) for k in range(2000)]
    return nodes, [weight(onnx, k, (1, 512, 128)) for k in "WR"], []


def shared_external(onnx, helper, folder):
    (folder / "data.bin").write_bytes(bytes(2**20))
    tensors = []
    for k in range(1000):
        tensor = declared(onnx, f"t{k}", [2**18])
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="data.bin")
        tensors.append(tensor)
    return [lstm(helper)], tensors, []


def external_pipe(onnx, helper, folder):
    import os

    os.mkfifo(folder / "data.bin")
    tensor = declared(onnx, "W", [1, 16, 4])
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="data.bin")
    return [lstm(helper)], [tensor, weight(onnx, "R", (1, 16, 4))], []


def identity_chains(onnx, helper, folder):
    chain = [helper.make_node("Identity", [f"w{k}"], [f"w{k + 1}"]) for k in range(5000)]
    nodes = [lstm(helper, f"n{k}", "w5000") for k in range(5000)]
    return [*chain, *nodes], [weight(onnx, k, (1, 16, 4)) for k in ("w0", "R")], []


def same_names(onnx, helper, folder):
    return [lstm(helper, "n") for _ in range(20_000)], [], []


def bodies(onnx, helper, folder):
    shared = [weight(onnx, f"t{k}", ()) for k in range(8000)]
    nodes = []
    for k in range(4000):
        body = helper.make_graph([lstm(helper, "n")], "b", [], [])
        nodes.append(helper.make_node("If", ["c"], ["y"], name=f"i{k}", then_branch=body))
    return nodes, shared, []


def long_names(onnx, helper, folder):
    inside = [lstm(helper, f"{k}") for k in range(5000)]
    body = helper.make_graph(inside, "b", [], [])
    name = "x" * 500_000
    return [helper.make_node("If", ["c"], ["y"], name=name, then_branch=body)], [], []


ONNX = {
    "functions that call two each": model(nested_functions),
    "calls of a wide function": model(wide_functions(3000)),
    "calls of a function up to the limit": model(wide_functions(230)),
    "calls of a large function": model(large_function),
    "functions that call each other": model(cyclic_functions),
    "huge initializers without data": model(huge_initializers),
    "weights from ConstantOfShape": model(expanded("ConstantOfShape")),
    "weights from Expand": model(expanded("Expand")),
    "weights from Tile": model(expanded("Tile")),
    "weights of many nodes": model(shared_weights),
    "external data of many tensors": model(shared_external),
    "external data in a pipe": model(external_pipe),
    "long chains of Identity": model(identity_chains),
    "20,000 nodes of one name": model(same_names),
    "many bodies in a large graph": model(bodies),
    "many nodes in one of a long name": model(long_names),
}
