"""A study in one line, for tests of what studies do."""

from gatecheck.decay.spec import DEFAULT_NETWORKS, as_spec
from gatecheck.decay.study import run

CELLS, INITIALISERS = (list(dict.fromkeys(names)) for names in zip(*DEFAULT_NETWORKS, strict=True))


def decay(
    cells=None,
    initialisers=None,
    progress=None,
    *,
    workers=1,
    store=None,
    resume=False,
    dask=None,
    **content,
):
    """All combinations of these cells and initialisers, or the usual ones, and whatever else a spec
    may say.
    """
    if cells is not None or initialisers is not None:
        content["network"] = [
            {"cell": list(cells or CELLS), "init": list(initialisers or INITIALISERS)}
        ]
    spec = as_spec(content)
    return run.decay(spec, progress, workers=workers, store=store, resume=resume, dask=dask)
