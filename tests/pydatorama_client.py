"""What the published pyDatorama 0.11 gets from an address: python pydatorama_client.py URL TOKEN
FOLDER. Unmodified but for the address; prints one line of JSON."""

import contextlib
import io
import json
import sys
from pathlib import Path

import Datorama.classes.datorama as module


def attempt(what):
    "What a call of the client gives, or the name of the error that it ends in."
    try:
        return what()
    except Exception as e:
        return f"raised {type(e).__name__}"


def run(url, token, folder):
    class There(module.Connect):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.api_url = url

    module.Connect = There
    dr = module.datorama(
        token, pause=0, restore_spaces=False, restore_streams=False, restore_jobs=False
    )
    dr.get_all_streams()
    stream, workspace = dr.streams[20001], dr.workspaces[1001]
    got = {"workspaces": sorted(dr.workspaces), "streams": len(dr.streams)}
    attempt(lambda: stream.process("2024-01-01", "2024-01-31"))
    attempt(lambda: dr.process_stream_batch([20001, 20004], "2024-02-01", "2024-02-05"))
    attempt(lambda: stream.get_stream_runs())
    jobs = dr.jobs[20001]
    got["jobs"] = len(jobs)
    done = [job for job in jobs.values() if job.status == "SUCCESS"]
    attempt(lambda: done[0].download(folder))
    attempt(lambda: stream.rerun_job_batch([done[0].id]))
    got["rerun"] = attempt(lambda: bool(done[0].rerun()))
    got["rerun_all"] = attempt(lambda: bool(stream.rerun_all_jobs()))
    attempt(lambda: stream.update_stream({"name": "Updated"}))
    attempt(lambda: stream.patch({"customAttribute1": "patched"}))
    for name in ("get_dimensions", "get_patterns", "get_harmonized_dimensions"):
        attempt(getattr(workspace, name))
    return {
        **got,
        "dimensions": len(workspace.dimensions),
        "patterns": len(workspace.patterns),
        "files": sorted(path.name for path in Path(folder).iterdir()),
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        told = run(*sys.argv[1:])
    print(json.dumps(told))
