"""What the published comotion-sdk, unmodified, does at the vendor's addresses: python
comotion_client.py, and on its input one JSON object that says as whom and with what. Prints one
line of JSON with what every step gave."""

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jwt
import numpy as np
import pandas as pd
import requests
from click.testing import CliRunner
from comotion import Auth, dash
from comotion.cli import cli


def attempt(call):
    "What a call gives, or the error it ends in."
    try:
        given = call()
    except BaseException as e:
        return f"raised {type(e).__name__}: {e}"
    return given.to_dict() if hasattr(given, "to_dict") else given


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


class Steps:
    "The steps of one program; `asked` is what the sandbox is and who may come in."

    def __init__(self, asked):
        self.asked = asked
        self.org = asked["org"]
        self.application = {
            "entity_type": Auth.APPLICATION,
            "application_client_id": asked["client_id"],
            "application_client_secret": asked["client_secret"],
        }
        self.config = dash.DashConfig(Auth(self.org, **self.application))
        self.csv = Path("people.csv")
        self.csv.write_text("Id,Full Name\n001,Ada\n002,Bo\n003,\n")
        self.frame = pd.DataFrame({"Id": [1, 2, 3], "Full Name": ["Ada", "Bo", None]})

    def rule(self, **rules):
        "Change how the sandbox behaves."
        url, secret = self.asked["control"], self.asked["client_secret"]
        headers = {"Authorization": secret}
        requests.post(f"{url}/sandbox/rules", json=rules, headers=headers).raise_for_status()

    def command(self, *words):
        "What a command of the sdk prints, with its exit code in front."
        done = CliRunner().invoke(cli, ["-o", self.org, *words])
        return f"{done.exit_code} {done.output.strip()}"

    # --- signing in ---

    def sign_in(self):
        wrong = Auth(self.org, **{**self.application, "application_client_secret": "guessed"})
        command = Path(sys.executable).parent / "comotion"
        done = subprocess.run(
            [command, "-o", self.org, "authenticate"], capture_output=True, text=True, timeout=200
        )
        user = Auth(self.org)
        return {
            "application": attempt(lambda: claims(self.config.auth.get_access_token())["azp"]),
            "wrong_secret": attempt(wrong.get_access_token),
            "authenticate": [done.returncode, done.stdout, done.stderr[-2000:]],
            "user": attempt(lambda: claims(user.get_access_token())["preferred_username"]),
            "current_user": self.command("get-current-user"),
            "issuer": self.command("get-issuer"),
            "cli_token": claims(self.command("get-access-token")[2:])["preferred_username"],
        }

    # --- Data Model v1 ---

    def first_model(self):
        def stamp(frame):
            frame["stamp"] = "now"

        key = self.asked["api_key"]
        send = dash.read_and_upload_file_to_dash
        stream = dash.create_gzipped_csv_stream_from_df(self.frame.astype(str))
        return {
            "forced": attempt(
                lambda: send(
                    self.csv,
                    "ages",
                    self.org,
                    dash_api_key=key,
                    data_model_version="v1",
                    chunksize=2,
                    modify_lambda=stamp,
                    service_client_id="901",
                )
            ),
            "found": attempt(
                lambda: send(
                    io.StringIO("a\n1\n"), "found", self.org, dash_api_key=key, **self.application
                )
            ),
            "stream": attempt(lambda: dash.upload_csv_to_dash(self.org, key, "ages", stream).text),
            "wrong_key": attempt(
                lambda: dash.upload_csv_to_dash(self.org, "guessed", "ages", stream).text
            ),
        }

    # --- loads ---

    def new_load(self, table, config=None, **options):
        chosen = {"load_type": "APPEND_ONLY", "load_as_service_client_id": "0", **options}
        return dash.Load(config or self.config, table_name=table, **chosen)

    def sent(self, load, send, check_sum=None):
        "How a load ends to which `send` has added its files."
        send(load)
        load.commit(check_sum)
        load.wait_to_complete()
        return load.get_load_info()

    def loads(self):
        def parts(load):
            load.upload_file(self.csv, dtype=str, keep_default_na=False)
            load.upload_df(pd.DataFrame({"Id": ["004"], "Full Name": ["Eve"]}), file_key="one_more")

        tracked = {"track_rows_uploaded": True}
        large = pd.DataFrame({"x": np.random.default_rng(1).random(900_000)})
        user = dash.DashConfig(Auth(self.org))
        opened = self.new_load("opened", **tracked)
        return {
            "parts": attempt(
                lambda: self.sent(
                    self.new_load("people", partitions=["id"], chunksize=2, **tracked),
                    parts,
                    {"count(distinct id)": 4, "max(full_name)": "Eve"},
                )
            ),
            "large": attempt(
                lambda: self.sent(
                    self.new_load("large", **tracked), lambda load: load.upload_df(large)
                )
            ),
            "as_user": attempt(
                lambda: self.sent(
                    self.new_load("by_user", user, **tracked),
                    lambda load: load.upload_df(self.frame.copy()),
                )
            ),
            "wrong_sum": attempt(
                lambda: self.sent(
                    self.new_load("wrong"),
                    lambda load: load.upload_df(self.frame.copy()),
                    {"sum(id)": 7},
                )
            ),
            "opened": attempt(opened.get_load_info),
            "attached": attempt(dash.Load(self.config, load_id=opened.load_id).get_load_info),
            "place": attempt(lambda: opened.generate_presigned_url_for_file_upload().path),
            "bad_name": attempt(lambda: self.new_load("1t")),
            "bad_sum": attempt(lambda: opened.commit({"drop table x": 1})),
            "unknown": attempt(dash.Load(self.config, load_id="nobodys").get_load_info),
        }

    def uploaders(self):
        folder = Path("folder").resolve()
        folder.mkdir()
        for n in range(3):
            (folder / f"{n}.csv").write_text(f"n\n{n}\n")

        def several():
            uploader = dash.DashBulkUploader(config=self.config)
            for table in ("from_folder", "from_sources"):
                uploader.add_load(table, track_rows_uploaded=True, load_as_service_client_id="0")
            uploader.add_data_to_load("from_folder", str(folder))
            query = dash.Query(self.config, query_text="select id, full_name from people")
            uploader.add_data_to_load("from_sources", query)
            uploader.add_data_to_load("from_sources", self.frame.copy())
            uploader.execute_all_uploads()
            return {name: info.to_dict() for name, info in uploader.get_load_info().items()}

        def one_call():
            uploader = dash.read_and_upload_file_to_dash(
                str(self.csv),
                "one_call",
                self.org,
                data_model_version="v2",
                **self.application,
            )
            return uploader.get_load_info()["one_call"].to_dict()

        return {"several": attempt(several), "one_call": attempt(one_call)}

    # --- queries ---

    def queries(self):
        def ask(text):
            query = dash.Query(self.config, query_text=text)
            return query, query.wait_to_complete()

        good, info = ask("select id, full_name from people order by id")
        failed = dash.Query(self.config, query_text="select nothing from people")
        with good.get_csv_for_streaming() as response:
            streamed = b"".join(response.stream(7)).decode()
        good.download_csv("result.csv")
        user = dash.Query(dash.DashConfig(Auth(self.org)), query_id=good.query_id)
        return {
            "info": info.to_dict(),
            "streamed": streamed,
            "downloaded": Path("result.csv").read_text(),
            "as_user": attempt(user.state),
            "page": attempt(lambda: good.query_api_instance.get_query_results(good.query_id)),
            "failed": attempt(lambda: failed.wait_to_complete().to_dict()["status"]),
            "bad_sql": attempt(lambda: ask("drop table people")),
            "unknown": attempt(dash.Query(self.config, query_id="nobodys").state),
            "stopped": attempt(dash.Query(self.config, query_text="select 1").stop),
        }

    # --- daily runs, commands, migration ---

    def daily_runs(self):
        runs = dash.DailyRun(self.config)
        modes = dash.DailyRun.GetDailyRunExecutionMode
        return {
            "enabled": attempt(runs.get_daily_run_enabled),
            "none": [attempt(lambda mode=mode: runs.get_execution_info(mode)) for mode in modes],
            "disabled": attempt(lambda: runs.update_daily_run_enabled(False)),
            "started": attempt(runs.start_execution),
            "busy": attempt(runs.start_execution),
            "some": [
                attempt(lambda mode=mode: runs.get_execution_info(mode, limit=7)) for mode in modes
            ],
        }

    def commands(self):
        "The commands, as the user who has signed in."
        self.frame.rename(columns={"Full Name": "name"}).to_parquet("part.parquet")
        lake = lambda *words: self.command("dash", *words)  # noqa: E731
        query = lake("start-query", "select 1 as one").split()[-1]
        load = lake("create-load", "-s", "0", "-p", "id", "by_command").split()[-1]
        told = {
            "query": query,
            "load": load,
            "download": lake("download", "-q", query, "-f", "command.csv"),
            "query_state": lake("query-state", "-q", query),
            "query_info": lake("query-info", "-q", query),
            "stop_query": lake("stop-query", "-q", query),
            "upload": lake("upload-file", "-l", load, "-k", "part_1", "part.parquet"),
            "commit": lake("commit-load", "-l", load, "-c", "count(*)", "3", "-c", "sum(Id)", "6"),
            "processing": lake("get-load-info", "-l", load),
            "load_info": lake("get-load-info", "-l", load),
            "enabled": lake("daily-run-enabled"),
            "enable": lake("update-daily-run-enabled", "--enable"),
            "runs": lake("daily-run-execution-info", "--mode", "latest"),
            "run": lake("start-daily-run-execution", "--yes"),
        }
        return {**told, "file": Path("command.csv").read_text()}

    def migrations(self):
        move, words = dash.Migration(self.config), []

        def until_done(name):
            for _ in range(10):
                words.append(move.status().to_dict()[name])
                if words[-1] in ("Completed", "Failed"):
                    return words
            return words

        def again():
            return dash.read_and_upload_file_to_dash(
                self.csv, "late", self.org, None, self.asked["api_key"], data_model_version="v1"
            )

        found = {
            "before": self.command("dash", "migration-status"),
            "flash": attempt(move.start),
            "busy": attempt(move.start),
            "flash_words": attempt(lambda: [*until_done("flash_schema_status")]),
            "full": attempt(lambda: move.start("FULL_MIGRATION", clear_out_new_lake=True)),
        }
        words.clear()
        return found | {
            "full_words": attempt(lambda: [*until_done("full_migration_status")]),
            "second": attempt(lambda: move.start("FULL_MIGRATION")),
            "by_command": self.command("dash", "start-migration", "--yes", "--flash-schema"),
            "after": self.command("dash", "migration-status"),
            "v1_is_closed": attempt(again),
            "found_v2": attempt(
                lambda: (
                    dash.read_and_upload_file_to_dash(
                        str(self.csv), "after_all", self.org, **self.application
                    )
                    .get_load_info()["after_all"]
                    .to_dict()
                )
            ),
        }

    # --- a program of somebody else, of the same user, at the same addresses ---

    def other_program(self):
        there = {**os.environ, "PYTHONPATH": self.asked["other_path"]}
        found = {}
        for name, words in self.asked["other_commands"].items():
            command = [*self.asked["other"], *words]
            done = subprocess.run(command, env=there, capture_output=True, text=True, timeout=200)
            found[name] = [done.returncode, done.stdout, done.stderr]
        return found

    # --- where the sdk itself is at fault ---

    def defects(self):
        tracked = {"track_rows_uploaded": True}
        Path("long.csv").write_text(
            "id,text\n" + "".join(f"{n},{'x' * 20}\n" for n in range(20_000))
        )
        self.frame.to_parquet("whole.parquet")
        self.frame.to_json("whole.json", orient="records")
        found = {}
        with open("long.csv") as handle:
            found["handle"] = attempt(
                lambda: self.sent(
                    self.new_load("d_handle", **tracked), lambda load: load.upload_file(handle)
                )
            )
        for kind in ("parquet", "json"):
            found[kind] = attempt(
                lambda kind=kind: self.sent(
                    self.new_load(f"d_{kind}", **tracked),
                    lambda load: load.upload_file(f"whole.{kind}"),
                )
            )
        found["types"] = attempt(
            lambda: self.sent(
                self.new_load("d_types", chunksize=2, **tracked),
                lambda load: load.upload_file(self.csv),
            )
        )
        summed = self.frame["Id"].sum()
        found["numpy_sum"] = attempt(
            lambda: self.sent(
                self.new_load("d_numpy"),
                lambda load: load.upload_df(self.frame.copy()),
                {"sum(id)": summed},
            )
        )
        mixed = self.frame.iloc[[1, 0, 2]]
        found["index"] = attempt(
            lambda: self.sent(
                self.new_load("d_index", **tracked), lambda load: load.upload_df(mixed)
            )
        )
        self.rule(rotate=True)
        user = Auth(self.org)
        found["first_refresh"] = attempt(lambda: bool(user.get_access_token()))
        found["second_refresh"] = attempt(user.get_access_token)
        return found


def run(asked):
    steps = Steps(asked)
    return {name: getattr(steps, name)() for name in asked["steps"]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.chdir(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does
        told = run(json.load(sys.stdin))
    print(json.dumps(told, default=str))
