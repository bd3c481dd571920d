"""What an example of the gallery finds when it starts."""

import multiprocessing


def start_processes_afresh(gallery_conf, file_name):
    """Let an example start processes of its own, as Dask's LocalCluster does.

    Examples run in processes of joblib, whose way to start others is named "loky". A
    process that is started from there looks for that name before it knows of joblib.
    """
    multiprocessing.set_start_method("spawn", force=True)
