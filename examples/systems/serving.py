"""
Saving and serving without TensorFlow
=====================================

Does a server that predicts need TensorFlow? No: it is needed to train. What was learned
is a few NumPy arrays, and `transform` is a product of matrices. This example trains a
pipeline, saves it, and answers from a process in which TensorFlow cannot be imported.
"""

# %%
# Train and save
# --------------

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

X, y = load_digits(return_X_y=True)
pipeline = make_pipeline(
    SparseAutoencoderTransformer(n_components=100, tol=0.01, random_state=0),
    StandardScaler(),
    LogisticRegression(max_iter=1000),
).fit(X, y)

folder = tempfile.TemporaryDirectory()
model = Path(folder.name) / "model.joblib"
rows = Path(folder.name) / "rows.npy"
joblib.dump(pipeline, model)
np.save(rows, X[:100])
print(f"{model.name}: {model.stat().st_size / 1000:.0f} kB")

# %%
# A server
# --------
# The script makes any import of TensorFlow or Keras fail. Then it loads the pipeline,
# answers one request of a hundred rows, and says how long everything took.

server = """
import json, sys, time
begin = time.perf_counter()
sys.modules["tensorflow"] = sys.modules["keras"] = None
import joblib, numpy as np
model, rows = joblib.load(sys.argv[1]), np.load(sys.argv[2])
loaded = time.perf_counter()
answer = model.predict(rows)
answered = time.perf_counter()
print(json.dumps([answer.tolist(), loaded - begin, answered - loaded]))
"""
output = subprocess.check_output([sys.executable, "-c", server, model, rows], text=True)
answer, to_load, to_answer = json.loads(output)
same = np.array_equal(answer, pipeline.predict(X[:100]))
print(f"the answers are those of the process that trained: {same}")

# %%
# For comparison: how long a process takes to import TensorFlow, before it can do
# anything.

begin = time.perf_counter()
subprocess.run(
    [sys.executable, "-c", "import tensorflow"], check=True, capture_output=True
)
to_import = time.perf_counter() - begin

# %%
# A module of NumPy alone
# -----------------------
# `generate_function` writes the encoder as a Python file that needs neither
# scikit-learn nor this package.

module = Path(folder.name) / "encoder.py"
pipeline[0].generate_function(module)
script = """
import json, sys, time
begin = time.perf_counter()
import numpy as np
import encoder
codes = encoder.encode(np.load(sys.argv[1]))
names = [name for name in ("sklearn", "sksparse_ae") if name in sys.modules]
print(json.dumps([codes.tolist(), names, time.perf_counter() - begin]))
"""
output = subprocess.check_output(
    [sys.executable, "-c", script, rows], text=True, cwd=folder.name
)
codes, imported, to_encode = json.loads(output)
print(f"{module.name}: {module.stat().st_size / 1000:.0f} kB, imported: {imported}")
largest = np.abs(codes - pipeline[0].transform(X[:100])).max()
print(f"largest difference of a code: {largest:.1e}")

# %%
# What it is worth
# ----------------

figure, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
names = ["import tensorflow", "pipeline, without TensorFlow", "module of NumPy alone"]
ax.barh(names[0], to_import, color="0.6")
ax.barh(names[1], to_load, color="C0", label="import and load")
ax.barh(names[1], to_answer, left=to_load, color="C1", label="answer 100 rows")
ax.barh(names[2], to_encode, color="C0")
ax.invert_yaxis()
ax.set(xlabel="seconds from the start of the process, on this machine")
ax.legend(frameon=False)
plt.show()

folder.cleanup()

# %%
# What to take away
# -----------------
# Train where TensorFlow is, and serve where it is not. A joblib file runs code when it
# is loaded, so load only files of your own; skops has files that do not.
#
# :ref:`exports` compares all forms, ONNX among them.
