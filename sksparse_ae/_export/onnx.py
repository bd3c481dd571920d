"""The fitted network in ONNX: as a model, and as a step that skl2onnx converts."""

from typing import Any

import numpy as np

from .._network.autoencoder import Layer, Parameters
from .._network.kept import Node
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
        for node in nodes_of_gaps(TensorProto.FLOAT):
            nodes.append(helper.make_node(*node[:3], **node.attributes))
        source = "seen"
    for output, name, layer in layers:
        own = {"X": source, "codes": output}

        def named(part: str, prefix: str = name, own: dict = own) -> str:
            return own.get(part, f"{prefix}_{part}")

        for part, array in constants_of_layer(layer).items():
            initializers.append(numpy_helper.from_array(array, named(part)))
        for operator, given, made, attributes in nodes_of_layer(layer):
            names = [*map(named, given)], [*map(named, made)]
            nodes.append(helper.make_node(operator, *names, **attributes))
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
    if layer.kept is not None:
        constants |= layer.kept.constants(layer.W.dtype)
    return constants


def nodes_of_layer(layer: Layer) -> list[Node]:
    """Return operators that make "codes" of "X"."""
    activation = OUTPUT_ACTIVATIONS[layer.activation].onnx_operator
    linear = Node("Gemm", ["X", "W", "b"], ["linear"])
    if layer.kept is None:
        return [linear, Node(activation, ["linear"], ["codes"])]
    return [linear, Node(activation, ["linear"], ["active"]), *layer.kept.nodes()]


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


def nodes_of_gaps(dtype: int) -> list[Node]:
    """Return operators that make "seen" of "X".

    It is what ``reading.as_seen`` returns.
    """
    return [
        Node("IsNaN", ["X"], ["is_missing"]),
        Node("Not", ["is_missing"], ["is_observed"]),
        Node("Cast", ["is_observed"], ["observed"], {"to": dtype}),
        Node("ReduceSum", ["observed", "columns"], ["n_observed"], {"keepdims": 1}),
        Node("Max", ["n_observed", "one"], ["n_read"]),
        Node("Div", ["n_features", "n_read"], ["factor"]),
        Node("Sub", ["X", "means"], ["deviations"]),
        Node("Mul", ["factor", "deviations"], ["longer"]),
        Node("Where", ["is_missing", "zero", "longer"], ["read"]),
        Node("Add", ["means", "read"], ["seen"]),
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

    def add_nodes(
        constants: dict[str, np.ndarray], nodes: list[Node], **names: str
    ) -> dict[str, str]:
        """Add nodes, and return the names in the graph of what they read and make."""
        own = [name for node in nodes for name in node.outputs]
        for name in {*constants, *own} - set(names):
            names[name] = scope.get_unique_variable_name(f"encoder_{name}")
        for name, array in constants.items():
            kind = TensorProto.INT64 if array.dtype.kind == "i" else dtype
            container.add_initializer(names[name], kind, array.shape, array.ravel())
        for operator_type, inputs, outputs, attributes in nodes:
            container.add_node(
                operator_type,
                [names[name] for name in inputs],
                [names[name] for name in outputs],
                name=scope.get_unique_operator_name(operator_type),
                **attributes,
            )
        return names

    cast = [Node("Cast", ["given"], ["X"], {"to": dtype})]
    read = add_nodes({}, cast, given=source.full_name)["X"]
    if parameters.means is not None:
        gaps = constants_of_gaps(parameters.means), nodes_of_gaps(dtype)
        read = add_nodes(*gaps, X=read)["seen"]
    layer, codes = parameters.encoder, operator.outputs[0].full_name
    add_nodes(constants_of_layer(layer), nodes_of_layer(layer), X=read, codes=codes)
