"""The fitted network in ONNX: as a model, and as a step that skl2onnx converts."""

from typing import Any

import numpy as np

from .._network.autoencoder import Layer, Parameters
from .._objective.activations import OUTPUT_ACTIVATIONS
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

    parameters = parameters.in_float32()
    layers = [("codes", "encoder", parameters.encoder)]
    if reconstruct:
        layers.append(("reconstruction", "decoder", parameters.decoder))

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
    for output, name, layer in layers:
        own = {"X": source, "codes": output}

        def named(part: str, prefix: str = name, own: dict = own) -> str:
            return own.get(part, f"{prefix}_{part}")

        for part, array in constants_of_layer(layer).items():
            initializers.append(numpy_helper.from_array(array, named(part)))
        for operator, given, made in nodes_of_layer(layer):
            nodes.append(
                helper.make_node(operator, [*map(named, given)], [named(made)])
            )
        outputs.append(rows_of(output, layer.W.shape[1]))
        source = output
    inputs = [rows_of("X", parameters.W1.shape[0])]
    return helper.make_model(
        helper.make_graph(nodes, "sparse_autoencoder", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", OPSET_VERSION)],
        ir_version=IR_VERSION,
        producer_name="sksparse_ae",
        producer_version=__version__,
    )


def constants_of_layer(layer: Layer) -> dict[str, np.ndarray]:
    """Return what ``nodes_of_layer`` reads beside "X"."""
    constants = {"W": layer.W, "b": layer.b}
    if layer.threshold is not None:
        constants["threshold"] = np.atleast_1d(layer.threshold)
        constants["zero"] = np.zeros(1, layer.W.dtype)
    return constants


def nodes_of_layer(layer: Layer) -> list[tuple[str, list[str], str]]:
    """Return operators, inputs and outputs that make "codes" of "X"."""
    activation = OUTPUT_ACTIVATIONS[layer.activation].onnx_operator
    linear = "Gemm", ["X", "W", "b"], "linear"
    if layer.threshold is None:
        return [linear, (activation, ["linear"], "codes")]
    return [
        linear,
        (activation, ["linear"], "active"),
        ("Less", ["active", "threshold"], "is_off"),
        ("Where", ["is_off", "zero", "active"], "codes"),
    ]


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
    names = {"X": scope.get_unique_variable_name("encoder_X")}

    def add_node(
        op_type: str, inputs: list[str], output: str, **attributes: Any
    ) -> None:
        name = scope.get_unique_operator_name(op_type)
        container.add_node(op_type, inputs, output, name=name, **attributes)

    add_node("Cast", [source.full_name], names["X"], to=dtype)
    layer = parameters.encoder
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
        names["X"] = names["seen"]
    constants, steps = constants_of_layer(layer), nodes_of_layer(layer)
    for name in (*constants, *(made for _, _, made in steps)):
        names[name] = scope.get_unique_variable_name(f"encoder_{name}")
    names["codes"] = operator.outputs[0].full_name
    for name, array in constants.items():
        container.add_initializer(names[name], dtype, array.shape, array.ravel())
    for operator_type, inputs, made in steps:
        add_node(operator_type, [names[name] for name in inputs], names[made])
