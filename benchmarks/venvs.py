"""One environment for each who takes part, below .venv-bench: `python benchmarks/venvs.py
[NAME ...]`. What is there already is left alone."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-bench"
OURS, ENGINES = "domostats", "engines"
PEERS = {  # name: what pip is asked for; below the peer stands what its speed depends on
    "pydomo": ["pydomo==0.3.0.16", "requests==2.34.2", "pandas==3.1.1"],
    "domolibrary": ["domolibrary==4.5.28", "httpx==0.28.1", "nbdev==3.3.26"],
    "dlt": ["dlt[parquet]==1.31.0", "pyarrow==26.0.1", "orjson==3.13.0"],
    "usual": ["pandas==3.1.1"],
    "comotion-sdk": ["comotion-sdk==1.2.2", "pandas==3.1.1", "pyarrow==25.0.1"],
    "sqlite-utils": ["sqlite-utils==4.2.1", "click==8.5.1"],
}


def requirements(name):
    """What pip is asked for. Ours is what the project asks for itself, with Comotion Dash: where
    everything else is installed too, a process takes twice as long to start. For the engines it is
    Airflow and Dask in place of that."""
    if name not in (OURS, ENGINES):
        return PEERS[name]
    import tomllib  # which comes with Python 3.11

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    more = [*extras["airflow"], *extras["dask"]] if name == ENGINES else extras["dash"]
    return [*project["dependencies"], *more]


def make(name):
    """The interpreter of an environment, which is made unless it was made from the same list
    before. Ours sees this checkout."""
    home = FOLDER / name
    python = home / "bin" / "python"
    made = home / "made-from"
    wanted = "\n".join(requirements(name))
    if not made.exists() or made.read_text() != wanted:
        print(f"{name}: pip install {' '.join(requirements(name))}", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements(name)], check=True)
        if name in (OURS, ENGINES):
            [packages] = home.glob("lib/python*/site-packages")
            (packages / "checkout.pth").write_text(f"{ROOT}\n")
        made.write_text(wanted)
    return python


if __name__ == "__main__":
    for one in sys.argv[1:] or [*PEERS, OURS, ENGINES]:
        make(one)
