"""The base of the Keras layers that make codes sparse, behind the units."""

from ._keras import keras, ops


class SparsityLayer(keras.layers.Layer):
    """Layer whose output has the shape of its input, of units that are 0 or more.

    `SparseAutoencoder` puts one between its encoder and its decoder, and asks of it
    what has an underscore here, beside ``_of_units``.
    """

    _arguments: tuple[str, ...] = ()  # of the constructor, kept under the same names

    def _codes(self, activations):
        """Return the codes of inference."""
        return activations

    def _per_row(self, activations):
        """Return what is averaged over the samples."""
        return activations

    def _penalty_of_mean(self, mean):
        """Return the penalty at the mean of ``_per_row`` over all samples."""
        return ops.zeros(())

    def compute_output_shape(self, input_shape):
        """Return the shape of the input.

        Parameters
        ----------
        input_shape : tuple
            Shape of the activations.

        Returns
        -------
        output_shape : tuple
            The same.
        """
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor.

        Returns
        -------
        config : dict
            By their names.
        """
        own = {name: getattr(self, name) for name in self._arguments}
        return {**super().get_config(), **own}
