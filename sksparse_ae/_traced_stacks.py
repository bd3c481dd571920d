"""Short Python stacks for the operations that TensorFlow traces."""

import os
import sys
import threading
from types import ModuleType

from tensorflow.python.framework import ops
from tensorflow.python.util import tf_stack

_of_thread = threading.local()


class _OwnFrames(tf_stack.StackTraceFilter):
    """Leaves out the frames of every module but those of this package."""

    _is_set = False

    def update(self):
        # Once in a thread: TensorFlow keeps each set of names that it was given.
        if not self._is_set:
            super().update()
            self._is_set = True

    def get_filtered_filenames(self):
        # As objects see themselves: a module that is only loaded when it is used is
        # not used by this.
        files = {
            object.__getattribute__(module, "__dict__").get("__file__")
            for module in list(sys.modules.values())
            if isinstance(module, ModuleType)
        } - {None}
        # After filtering, TensorFlow drops the innermost frames, which are these.
        kept = {ops.__file__, tf_stack.__file__}
        package = os.path.dirname(__file__)
        return {f for f in files - kept if not f.startswith(package)}


def own_frames_only():
    """Have operations that this thread traces keep the frames of this package only.

    TensorFlow keeps the Python stack of each operation with the graph, and once more
    with what XLA has compiled, for good: 20 to 60 frames of 400 operations. Nothing
    shows them but an error message of an operation, which then names our line.

    Returns
    -------
    filtering : context manager
    """
    if not hasattr(_of_thread, "filter"):
        _of_thread.filter = _OwnFrames()
    return _of_thread.filter
