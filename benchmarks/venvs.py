"""One environment per peer, below .venv-bench: `python benchmarks/venvs.py [NAME ...]`. What is
there already is left alone."""

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".venv-bench"
PEERS = {  # name: what pip is asked for; below the peer stands what its speed depends on
    "pydomo": ["pydomo==0.3.0.16", "requests==2.34.2", "pandas==3.1.1"],
    "domolibrary": ["domolibrary==4.5.28", "httpx==0.28.1", "nbdev==3.3.26"],
    "dlt": ["dlt[parquet]==1.31.0", "pyarrow==26.0.1", "orjson==3.13.0"],
    "usual": ["pandas==3.1.1"],
    "comotion-sdk": ["comotion-sdk==1.2.2", "pandas==3.1.1", "pyarrow==25.0.1"],
    "sqlite-utils": ["sqlite-utils==4.2.1", "click==8.5.1"],
}


def make(name):
    """The interpreter of a peer's environment, which is made unless it was made from the same list
    before."""
    python, made, wanted = (
        FOLDER / name / "bin" / "python",
        FOLDER / name / "made-from",
        "\n".join(PEERS[name]),
    )
    if not made.exists() or made.read_text() != wanted:
        print(f"{name}: pip install {' '.join(PEERS[name])}", file=sys.stderr, flush=True)
        venv.create(FOLDER / name, with_pip=True, clear=True)
        subprocess.run(
            [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *PEERS[name],
            ],
            check=True,
        )
        made.write_text(wanted)
    return python


if __name__ == "__main__":
    for peer in sys.argv[1:] or PEERS:
        make(peer)
