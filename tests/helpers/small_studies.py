"""Studies in one line, for tests of studies."""

from gatecheck.decay.spec import DEFAULT_NETWORKS, as_spec
from gatecheck.decay.study import run

CELLS, INITIALISERS = (list(dict.fromkeys(names)) for names in zip(*DEFAULT_NETWORKS, strict=True))


def run_study(
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
    """Run a study of all combinations of cells and initializers, or the usual ones.

    `content` holds other keys of the spec.
    """
    if cells is not None or initialisers is not None:
        content["network"] = [
            {"cell": list(cells or CELLS), "init": list(initialisers or INITIALISERS)}
        ]
    spec = as_spec(content)
    return run.decay(spec, progress, workers=workers, store=store, resume=resume, dask=dask)
