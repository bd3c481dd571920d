"""Short Python stacks for the operations that TensorFlow traces."""

import os
import sys
import threading
from types import ModuleType

from tensorflow.python.framework import ops
from tensorflow.python.util import tf_stack

_lock = threading.Lock()
_of_thread = threading.local()


class _OwnFrames(tf_stack.StackTraceFilter):
    """Leaves out the frames of every module but those of this package."""

    # TensorFlow keeps a set of names as long as a stack that it was applied to: all
    # threads share one.
    _shared_set = None

    def update(self):
        with _lock:
            if _OwnFrames._shared_set is None:
                super().update()
                _OwnFrames._shared_set = self.internal_set
        self.internal_set = _OwnFrames._shared_set

    def get_filtered_filenames(self):
        # Read past the modules' own lookup, which loads some that are not yet used.
        of_module = ModuleType.__dict__["__dict__"].__get__
        files = [
            of_module(module).get("__file__")
            for module in list(sys.modules.values())
            if isinstance(module, ModuleType)
        ]
        # After filtering, TensorFlow drops the innermost frames, which are these.
        kept = {ops.__file__, tf_stack.__file__}
        package = os.path.dirname(__file__)
        return {
            file
            for file in files
            if isinstance(file, str)
            and file not in kept
            and not file.startswith(package)
        }


def own_frames_only():
    """Have operations that this thread traces keep the frames of this package only.

    TensorFlow keeps the Python stack of each operation with the graph, and once more
    with what XLA has compiled, for good: 20 to 60 frames of 400 operations. Nothing
    shows them but an error message of an operation, which then names a line of ours.

    Returns
    -------
    filtering : context manager
    """
    if not hasattr(_of_thread, "filter"):
        _of_thread.filter = _OwnFrames()
    return _of_thread.filter
