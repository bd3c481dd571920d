"""Ng's sparse-autoencoder objective, stated once; imports nothing of ours.

Every function takes ``xp``, the namespace that holds the operations: ``keras.ops``
inside the solvers, the Keras layers and the networks that ``to_keras`` returns,
``numpy`` where the fitted arrays are evaluated. Both offer the NumPy API, so these
formulas are the only ones in the package. What they sum over are the last axes: arrays
may have others before them, of models trained side by side.

The notation is that of the CS294A lecture notes "Sparse autoencoder" (Ng, 2011).
"""
