"""The way to the lessons: what `domostats lab` puts into a learner's folder, and the page there."""

import asyncio
import importlib
import json
import subprocess
import threading
from pathlib import Path

import pytest
from commands import run as domostats
from conftest import ROOT

from domostats.errors import DestinationError
from domostats.interfaces import lab
from domostats.lessons import accounts as check
from domostats.lessons import home, landing, progress
from domostats.lessons.catalogue import LESSONS, Lesson, LessonTask
from domostats.lessons.copies import find_copies

ACCOUNTS = LESSONS["accounts"]


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def made_older(path, version=1):
    "Make a copy one of an older version, with work of the learner in it."
    notebook = read(path)
    notebook["metadata"]["domostats"]["version"] = version
    notebook["cells"].append({"cell_type": "markdown", "id": "mine", "source": "my work"})
    path.write_text(json.dumps(notebook))
    return path.read_text()


# The folder


def test_the_folder_has_lessons_clean_copies_and_solutions_out_of_sight():
    page, new = lab.bring_up_to_date("mine")
    files = {lesson.file for lesson in LESSONS.values()}
    assert set(new) == files and page == Path("mine/index.ipynb")
    assert {path.name for path in Path("mine/clean").iterdir()} == files
    assert {path.name for path in Path("mine/.solutions").iterdir()} == files
    assert "# BEGIN SOLUTION" in Path("mine/.solutions", ACCOUNTS.file).read_text()
    shown = {path.name for path in Path("mine").iterdir() if path.name[0] != "."}
    assert shown == files | {"clean", "index.ipynb"}


def test_a_newer_version_stands_beside_ones_own_copy_which_is_not_touched():
    lab.copy_lessons("mine")
    own = Path("mine", ACCOUNTS.file)
    kept = made_older(own)
    assert lab.copy_lessons("mine") == ["1_accounts (new).ipynb"]
    assert lab.copy_lessons("mine") == [] and own.read_text() == kept
    made_older(Path("mine", "1_accounts (new).ipynb"))
    assert lab.copy_lessons("mine") == ["1_accounts (new 2).ipynb"]
    newest = read("mine/1_accounts (new 2).ipynb")["metadata"]["domostats"]
    assert newest == {"lesson": "accounts", "version": ACCOUNTS.version}


def test_a_copy_is_known_by_what_it_is_and_not_by_its_name():
    lab.copy_lessons("mine")
    Path("mine", ACCOUNTS.file).rename("mine/01 my first lesson.ipynb")
    assert lab.copy_lessons("mine") == []
    made_older(Path("mine/01 my first lesson.ipynb"))
    assert lab.copy_lessons("mine") == [ACCOUNTS.file]


@pytest.mark.parametrize("mark", [{}, {"domostats": None}, {"domostats": {"version": "x"}}, []])
def test_a_copy_without_a_version_is_never_written_over(mark):
    Path("mine").mkdir()
    own = Path("mine", ACCOUNTS.file)
    own.write_text(json.dumps({"cells": [], "metadata": mark}))
    before = own.read_text()
    lab.bring_up_to_date("mine")
    assert own.read_text() == before


def test_a_copy_that_fails_leaves_no_half_of_it(monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            self.file.write(content[:10])
            raise OSError(28, "No space left on device")

    def opened(self, *mode, **named):
        file = real(self, *mode, **named)
        return Full(file) if mode == ("xb",) else file

    real = Path.open
    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DestinationError, match="No space left"):
        lab.copy_lessons("mine")
    assert [*Path("mine").iterdir()] == []


def test_a_notebook_of_ones_own_called_index_stays_and_ones_own_cells_do():
    Path("mine").mkdir()
    Path("mine/index.ipynb").write_text("my own")
    assert lab.bring_up_to_date("mine")[0].name == "lessons.ipynb"
    assert lab.bring_up_to_date("mine")[0].name == "lessons.ipynb"
    assert Path("mine/index.ipynb").read_text() == "my own"
    Path("mine/lessons.ipynb").write_text('{"cells": [1]}')
    assert lab.bring_up_to_date("mine")[0].name == "lessons-2.ipynb"
    assert Path("mine/lessons.ipynb").read_text() == '{"cells": [1]}'
    page, _ = lab.bring_up_to_date("other")
    notebook = read(page)
    notebook["cells"].insert(1, {"cell_type": "markdown", "id": "mine", "source": "a note"})
    notebook["cells"][0]["source"] = "scribbled"
    page.write_text(json.dumps(notebook))
    sources = [cell["source"] for cell in read(lab.bring_up_to_date("other")[0])["cells"]]
    assert sources.count("a note") == 1 and "scribbled" not in sources


# The page


def test_the_page_of_the_project_is_that_of_somebody_new():
    "Whoever makes it, whatever they have done: the stored page is the same on every machine."
    nbformat = pytest.importorskip("nbformat")
    stored = ROOT / "tutorials" / "index.ipynb"
    nbformat.validate(nbformat.read(stored, as_version=4))
    [shown] = read(stored)["cells"][1]["outputs"]
    assert "".join(shown["data"]["text/plain"]) == repr(home(ROOT / "tutorials"))
    assert "".join(shown["data"]["text/html"]) == home(ROOT / "tutorials")._repr_html_()
    for lesson in LESSONS.values():
        assert lesson.title in repr(home(ROOT / "tutorials"))
        assert f'href="exercises/{lesson.file}"' in "".join(shown["data"]["text/html"])


def test_the_page_shows_progress_and_leads_to_the_next_task():
    lab.bring_up_to_date("mine")
    assert "3 of 11" not in repr(home("mine"))
    for task in ACCOUNTS.tasks[:3]:
        progress.note_try("accounts", task.name, "a mark", True)
    page = home("mine")
    assert page.next.lesson == ACCOUNTS and page.next.next_task == 4
    assert "3 of 11" in repr(page) and "◐ 3 of 11" in page._repr_html_()
    name, _, cell = page.next.link.partition("#cell-id=")
    [source] = ["".join(c["source"]) for c in read(Path("mine", name))["cells"] if c["id"] == cell]
    assert "### Task 4" in source.splitlines()
    assert max(map(len, repr(page).split("\n"))) <= 72


def test_the_lesson_that_was_worked_on_last_goes_on_and_after_it_the_first_open_one():
    progress.note_try("pages", "whole", "a mark", False)
    assert home(ROOT / "tutorials").next.lesson.subject == "pages"
    progress.note_try("accounts", "flatten", "a mark", False)
    assert home(ROOT / "tutorials").next.lesson.subject == "accounts"
    for task in ACCOUNTS.tasks:
        progress.note_try("accounts", task.name, "another mark", True)
    page = home(ROOT / "tutorials")
    assert page.next.lesson == next(one for one in LESSONS.values() if one != ACCOUNTS)
    assert "✓ done" in page._repr_html_()
    for lesson in LESSONS.values():
        for task in lesson.tasks:
            progress.note_try(lesson.subject, task.name, "a third mark", True)
    assert home(ROOT / "tutorials").next is None and "Done" in repr(home(ROOT / "tutorials"))


def test_a_newer_version_is_offered_on_the_page_and_ones_own_copy_goes_on():
    lab.copy_lessons("mine")
    made_older(Path("mine", ACCOUNTS.file))
    lab.bring_up_to_date("mine")
    [state] = [state for state in home("mine").states if state.lesson == ACCOUNTS]
    assert (state.file, state.newer) == (ACCOUNTS.file, "1_accounts (new).ipynb")
    shown = home("mine")._repr_html_()
    assert "1_accounts%20%28new%29.ipynb" in shown and "a newer version" in shown
    Path("mine", ACCOUNTS.file).unlink()
    [state] = [state for state in home("mine").states if state.lesson == ACCOUNTS]
    assert (state.file, state.newer) == ("1_accounts (new).ipynb", "")


def test_a_lesson_without_a_notebook_is_not_on_the_page_and_one_with_it_is(monkeypatch):
    new = Lesson("orders", 9, "Orders & <more>", 20, "none", 1, (LessonTask("one", "One"),))
    monkeypatch.setitem(LESSONS, "orders", new)
    assert "Orders" not in repr(home("."))
    mark = {"domostats": {"lesson": "orders", "version": 1}}
    Path(new.file).write_text(json.dumps({"cells": [], "metadata": mark}))
    assert "9  Orders & <more>" in repr(home("."))
    assert "Orders &amp; &lt;more&gt;" in home(".")._repr_html_()


def test_without_a_place_for_progress_the_page_says_so(monkeypatch):
    monkeypatch.setenv("DOMOSTATS_PROGRESS", "off")
    assert landing.NOT_KEPT in repr(home(".")) and landing.NOT_KEPT in home(".")._repr_html_()


def test_every_colour_has_a_word_and_a_sign_beside_it():
    progress.note_try("accounts", "flatten", "a mark", True)
    for task in LESSONS["pages"].tasks:
        progress.note_try("pages", task.name, "a mark", True)
    shown = home(ROOT / "tutorials")._repr_html_()
    bars = shown.split('<span aria-hidden="true"')[1:]
    assert len(bars) == len(LESSONS)
    for bar in bars:
        said = bar.split("</span></span>")[1].partition("<")[0].replace("&nbsp;", "").split()
        assert said[0] in "○◐✓" and said[1] in ("new", "done", "1")


def in_a_notebook(monkeypatch, shown):
    "Let IPython's display be that of a notebook; what it is told goes to `shown`."
    display = pytest.importorskip("IPython.display")

    class Handle:
        def update(self, data, raw):
            shown.append(data)

    def told(data, raw, display_id):
        shown.append(data)
        return Handle() if display_id else None

    monkeypatch.setattr(landing, "is_in_notebook", lambda: True)
    monkeypatch.setattr(landing, "LOOKS_EVERY", 0.01)
    monkeypatch.setattr(display, "display", told)


def test_a_page_that_was_run_once_follows_what_is_done_elsewhere(monkeypatch):
    lab.bring_up_to_date("mine")
    shown, changed = [], threading.Event()
    in_a_notebook(monkeypatch, shown)
    follow = landing.follow_progress
    threads = []

    def following(update):
        threads.append(follow(lambda: (update(), changed.set()), 0.01))

    monkeypatch.setattr(landing, "follow_progress", following)
    for _ in range(2):  # a cell that is run again
        home("mine")._ipython_display_()
    assert len(shown) == 2 and "1 of 11" not in str(shown)
    progress.note_try("accounts", "grain", "a mark", True)
    assert changed.wait(60)
    threads[0].join(60)
    assert "◐ 1 of 11" in shown[-1]["text/html"] and "1 of 11" in shown[-1]["text/plain"]
    assert len(shown) == 3 and [thread.is_alive() for thread in threads] == [False, True]
    assert threads[1].daemon
    follow(lambda: None)  # ends it


def test_outside_a_notebook_the_page_is_shown_and_nobody_follows(monkeypatch):
    shown = []
    in_a_notebook(monkeypatch, shown)
    monkeypatch.setattr(landing, "is_in_notebook", lambda: False)
    before = threading.active_count()
    home(".")._ipython_display_()
    assert len(shown) == 1 and threading.active_count() <= before


def opened(folder, name, **how):
    "What JupyterLab gets from the server when it opens a notebook."
    pytest.importorskip("jupyter_server")
    from domostats.interfaces.lab_files import LessonFiles

    return asyncio.run(LessonFiles(root_dir=str(Path(folder).resolve())).get(name, **how))


def test_the_page_is_up_to_date_whenever_it_is_opened_and_the_file_stays():
    page, _ = lab.bring_up_to_date("mine")
    notebook = read(page)
    own = {"cell_type": "code", "id": "own", "metadata": {}, "source": "1", "outputs": []}
    notebook["cells"].append(own | {"execution_count": None})
    page.write_text(json.dumps(notebook))
    stored = page.read_bytes()
    progress.note_try("accounts", "grain", "a mark", True)
    model = opened("mine", "index.ipynb")
    cells = model["content"]["cells"]
    [output] = cells[1]["outputs"]
    assert "◐ 1 of 11" in output["data"]["text/html"] and cells[1]["metadata"]["trusted"]
    assert "trusted" not in cells[3]["metadata"] or not cells[3]["metadata"]["trusted"]
    assert page.read_bytes() == stored and b"1 of 11" not in stored
    look = opened("mine", "index.ipynb", content=False)  # what a save compares with
    assert look["content"] is None and look["last_modified"] == model["last_modified"]


def test_other_notebooks_are_opened_as_they_are():
    lab.bring_up_to_date("mine")
    Path("mine/notes.txt").write_text("mine")
    Path("mine/own.ipynb").write_text(Path("mine/index.ipynb").read_text().replace("lessons", "x"))
    assert opened("mine", "notes.txt")["content"] == "mine"
    assert [one["name"] for one in opened("mine", "")["content"]]
    for name in (ACCOUNTS.file, "own.ipynb"):
        cells = opened("mine", name)["content"]["cells"]
        assert [cell["source"] for cell in cells] == [
            "".join(cell["source"]) for cell in read(Path("mine", name))["cells"]
        ]
        assert [cell.get("outputs", []) for cell in cells if cell["cell_type"] == "code"] == [
            cell["outputs"] for cell in read(Path("mine", name))["cells"] if "outputs" in cell
        ] or name == "own.ipynb"
    scribbled = read("mine/index.ipynb")
    scribbled["cells"][1]["source"] = "print('mine')"
    Path("mine/index.ipynb").write_text(json.dumps(scribbled))
    cell = opened("mine", "index.ipynb")["content"]["cells"][1]
    assert cell["outputs"][0]["data"]["text/html"] == "".join(
        scribbled["cells"][1]["outputs"][0]["data"]["text/html"]
    )


# The command


def test_the_lab_opens_on_the_page_and_asks_about_no_news(monkeypatch):
    pytest.importorskip("jupyterlab")
    from jupyter_server.services.contents.filemanager import AsyncFileContentsManager

    seen = {}

    def run(command, env):
        first, *rest = env["JUPYTER_CONFIG_PATH"].split(":")
        settings = read(Path(first) / "labconfig" / "default_setting_overrides.json")
        seen.update(command=command, rest=rest, settings=settings, before=env["HOME"])
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/their/own")
    monkeypatch.setattr(lab.subprocess, "run", run)
    assert lab.open_lab("mine", "--no-browser") == 5
    assert "--LabApp.default_url=/lab/tree/index.ipynb" in seen["command"]
    [files] = [one for one in seen["command"] if "contents_manager_class" in one]
    module, _, name = files.partition("=")[2].rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), name), AsyncFileContentsManager)
    assert seen["command"][-1] == "--no-browser" and seen["rest"] == ["/their/own"]
    notifications = seen["settings"]["@jupyterlab/apputils-extension:notification"]
    assert notifications == {"fetchNews": "false", "checkForUpdates": False}


def test_the_lab_says_that_a_newer_lesson_is_there(monkeypatch, capsys):
    pytest.importorskip("jupyterlab")
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(lab.subprocess, "run", lambda *command, **more: done)
    lab.open_lab("mine")
    assert capsys.readouterr().out == ""
    made_older(Path("mine", ACCOUNTS.file))
    lab.open_lab("mine")
    assert "1_accounts (new).ipynb. Your own copy is as you left it." in capsys.readouterr().out


def test_the_progress_of_a_lesson_is_forgotten_by_a_command_and_nothing_else():
    for subject, task in (("accounts", "flatten"), ("pages", "whole")):
        progress.note_try(subject, task, "a mark", True)
    code, said, _ = domostats("lab", "--reset", "accounts")
    assert code == 1 and "[y/N]" in said and progress.done(ACCOUNTS) == ["flatten"]
    code, said, _ = domostats("lab", "--reset", "accounts", "--yes")
    assert code == 0 and "as you left it" in said and not Path("lessons").exists()
    assert progress.done(ACCOUNTS) == [] and progress.done(LESSONS["pages"]) == ["whole"]
    code, _, said = domostats("lab", "--reset", "acounts", "--yes")
    assert code == 2 and "accounts" in said and "Traceback" not in said


# Honest tries


def test_what_is_no_function_is_no_try(capsys):
    for junk in (1, 2, 3, "four", [5]):
        check.flatten(junk)
    check.flatten(1, 2)
    assert progress.honest_tries("accounts", "flatten") == 0
    check.solution("flatten")
    assert "there were 0" in capsys.readouterr().out
    check.flatten(lambda lists: lists[0])
    assert progress.honest_tries("accounts", "flatten") == 1
    assert check.flatten(lambda lists: 1 / 0)._repr_html_().count("a solution after 1 more try")


def test_what_is_stored_can_be_looked_at(capsys):
    check.flatten(lambda lists: sum(lists, []))
    progress.show_stored()
    said = capsys.readouterr().out
    assert "accounts flatten: 1 try, passed on 20" in said and "lambda" not in said
    assert str(progress.progress_file()) in said


def test_an_older_copy_comes_first():
    lab.copy_lessons("mine")
    made_older(Path("mine", ACCOUNTS.file), 0)
    lab.copy_lessons("mine")
    versions = [copy.version for copy in find_copies("mine") if copy.subject == "accounts"]
    assert versions == [0, ACCOUNTS.version]
