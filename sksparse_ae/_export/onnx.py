"""The fitted network in ONNX: as a model, and as a step that skl2onnx converts."""

from typing import Any

import numpy as np

from .._network.autoencoder import Parameters
from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .._utils.extras import import_extra
from .._utils.files import FilePath, replacing

# onnxruntime reads these versions since its release 1.6 of 2020. By default onnx writes
# the newest version that it knows, which an onnxruntime of the same day may not read.
OPSET_VERSION, IR_VERSION = 13, 7


def network_model(parameters: Parameters, *, reconstruct: bool) -> Any:
    """Return the network in float32 as an ``onnx.ModelProto``.

    If ``reconstruct``, it has the output "reconstruction" beside "codes".
    """
    import_extra("onnx", extra="onnx", needed_by="to_onnx")
    from onnx import TensorProto, helper, numpy_helper

    from .. import __version__

    W1, b1, W2, b2 = parameters.in_float32().arrays
    layers = [("codes", "encoder", W1, b1, parameters.activation)]
    if reconstruct:
        layers.append(
            ("reconstruction", "decoder", W2, b2, parameters.output_activation)
        )

    def rows_of(name: str, width: int) -> Any:
        shape: list[str | int | None] = ["n_samples", width]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes, initializers, outputs = [], [], []
    source = "X"
    if parameters.means is not None:
        means = parameters.means.astype(np.float32)
        for name, array in constants_of_gaps(means).items():
            initializers.append(numpy_helper.from_array(array, name))
        for operator, given, output, attributes in nodes_of_gaps(TensorProto.FLOAT):
            nodes.append(helper.make_node(operator, given, [output], **attributes))
        source = "seen"
    for output, layer, W, b, activation in layers:
        weights, biases, linear = f"{layer}_W", f"{layer}_b", f"{layer}_linear"
        initializers.append(numpy_helper.from_array(W, weights))
        initializers.append(numpy_helper.from_array(b, biases))
        operator = OUTPUT_ACTIVATIONS[activation].onnx_operator
        nodes.append(helper.make_node("Gemm", [source, weights, biases], [linear]))
        nodes.append(helper.make_node(operator, [linear], [output]))
        outputs.append(rows_of(output, W.shape[1]))
        source = output
    inputs = [rows_of("X", W1.shape[0])]
    return helper.make_model(
        helper.make_graph(nodes, "sparse_autoencoder", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", OPSET_VERSION)],
        ir_version=IR_VERSION,
        producer_name="sksparse_ae",
        producer_version=__version__,
    )


def constants_of_gaps(means: np.ndarray) -> dict[str, np.ndarray]:
    """Return what ``nodes_of_gaps`` reads beside "X"."""
    one = np.ones(1, means.dtype)
    return {
        "means": means,
        "zero": 0 * one,
        "one": one,
        "n_features": len(means) * one,
        "columns": np.array([1]),
    }


def nodes_of_gaps(dtype: int) -> list[tuple[str, list[str], str, dict]]:
    """Return operators, inputs, outputs and attributes that make "seen" of "X".

    It is what ``reading.as_seen`` returns.
    """
    return [
        ("IsNaN", ["X"], "is_missing", {}),
        ("Not", ["is_missing"], "is_observed", {}),
        ("Cast", ["is_observed"], "observed", {"to": dtype}),
        ("ReduceSum", ["observed", "columns"], "n_observed", {"keepdims": 1}),
        ("Max", ["n_observed", "one"], "n_read", {}),
        ("Div", ["n_features", "n_read"], "factor", {}),
        ("Sub", ["X", "means"], "deviations", {}),
        ("Mul", ["factor", "deviations"], "longer", {}),
        ("Where", ["is_missing", "zero", "longer"], "read", {}),
        ("Add", ["means", "read"], "seen", {}),
    ]


def write_model(model: Any, path: FilePath) -> None:
    """Write an ``onnx.ModelProto`` to a file."""
    content = model.SerializeToString()
    with replacing(path) as file:
        file.write(content)


# ------------------------------------------------------------- called only by skl2onnx


def set_output_shape(operator: Any) -> None:
    """Tell skl2onnx the shape of the codes."""
    n_rows = operator.inputs[0].get_first_dimension()
    n_components = len(operator.raw_operator.intercepts_[0])
    operator.outputs[0].type.shape = [n_rows, n_components]


def add_encoder(scope: Any, operator: Any, container: Any) -> None:
    """Add the encoder to the graph that skl2onnx builds, in the input's precision."""
    from onnx import TensorProto
    from skl2onnx.common.data_types import guess_proto_type, guess_tensor_type

    parameters = operator.raw_operator._exported
    source = operator.inputs[0]
    # Floats stay as they are; integers become float32.
    dtype = guess_proto_type(guess_tensor_type(source.type))
    names = {
        name: scope.get_unique_variable_name(f"encoder_{name}")
        for name in ("X", "W", "b", "linear")
    }
    for name, array in (("W", parameters.W1), ("b", parameters.b1)):
        container.add_initializer(names[name], dtype, array.shape, array.ravel())

    def add_node(
        op_type: str, inputs: list[str], output: str, **attributes: Any
    ) -> None:
        name = scope.get_unique_operator_name(op_type)
        container.add_node(op_type, inputs, output, name=name, **attributes)

    activation = ACTIVATIONS[parameters.activation].onnx_operator
    add_node("Cast", [source.full_name], names["X"], to=dtype)
    rows = names["X"]
    if parameters.means is not None:
        constants = constants_of_gaps(parameters.means)
        nodes = nodes_of_gaps(dtype)
        for name in (*constants, *(output for _, _, output, _ in nodes)):
            names[name] = scope.get_unique_variable_name(f"encoder_{name}")
        for name, array in constants.items():
            kind = TensorProto.INT64 if name == "columns" else dtype
            container.add_initializer(names[name], kind, array.shape, array)
        for operator_type, inputs, output, attributes in nodes:
            given = [names[name] for name in inputs]
            add_node(operator_type, given, names[output], **attributes)
        rows = names["seen"]
    add_node("Gemm", [rows, names["W"], names["b"]], names["linear"])
    add_node(activation, [names["linear"]], operator.outputs[0].full_name)
