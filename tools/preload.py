"""Import the package, and the libraries that it takes long to import, once: a notebook or a command
that runs in a fork of the process that did so begins at once."""

import contextlib
import gc
import importlib
import pkgutil
from collections.abc import Iterable

LIBRARIES = (
    "pandas",
    "pyarrow.parquet",
    "pyarrow.csv",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "duckdb",
    "requests",
    "rich.table",
    "rich._emoji_codes",
    "typer._adapters",
    "starlette.middleware.trustedhost",
    "uvicorn",
    "uvicorn.protocols.http.h11_impl",
)  # of which the package imports some only where they are needed


def preload(more: Iterable[str] = ()) -> None:
    "Import every module of the package, the `LIBRARIES`, and these; what is not installed is left."
    import domostats

    found = pkgutil.walk_packages(domostats.__path__, "domostats.")
    for name in (*LIBRARIES, *more, *(module.name for module in found)):
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra: whoever needs it imports it
                importlib.import_module(name)
    gc.collect()
    gc.freeze()
