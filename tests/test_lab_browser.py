"""The lab in a browser, as a learner meets it: the landing page, a lesson, a wrong and a right
answer by keyboard alone, and the page again; and the widgets, as somebody with an instance does.

Chromium is Debian's: `apt-get install chromium`. Nothing is downloaded by Playwright, and no other
host is asked."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from conftest import TODAY, missing, plant
from secret_search import leaks_in_files

from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.loading.files import read_file
from domostats.rows.table import to_dataframe

pytestmark = pytest.mark.slow

NAMES = "chromium", "chromium-browser", "google-chrome"
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--metrics-recording-only",
]
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
PATIENCE = 120_000  # milliseconds for one thing to happen, on a machine that has other things to do
OUTPUTS = ".jp-Notebook .jp-OutputArea"
SIZES = (1366, 768), (1920, 1080)
THEMES = "JupyterLab Light", "JupyterLab Dark"
READY = """() => {
    const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    const session = widget && widget.sessionContext && widget.sessionContext.session;
    return !!(widget && widget.context && widget.context.isReady && session && session.kernel
        && session.kernel.connectionStatus === 'connected' && session.kernel.status === 'idle'
        && document.activeElement.closest('.jp-Notebook'));
}"""
CELL = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const model = notebook.activeCell.model;
    return {
        number: notebook.activeCellIndex,
        source: model.sharedModel.source,
        isCode: model.type === 'code',
    };
}"""
RAN = """number => {
    const widget = window.jupyterapp.shell.currentWidget;
    const model = widget.content.widgets[number].model;
    return model.type !== 'code' || (model.executionState !== 'running' && model.executionCount
        && widget.sessionContext.session.kernel.status === 'idle');
}"""
PICTURES = [
    """
from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.accounts import get_accounts
from domostats.lessons import browser_pictures, pages as check, pictures

instance = sandbox.start(today="2024-04-01")
pictures.nested_to_flat(get_accounts(instance).response)
""",
    "check.draw_pages(check.all_rows(...).use())",
    "pictures.two_nights(230)",
    "pictures.three_ways(2, 9)",
    'pictures.cut_in_parts(12_345, 10_000, {"2022": 5_000, "2023": 5_000, "2024": 2_345})',
    'browser_pictures.one_of_many(["the page", "style.css", "logo.svg", "providers"], "providers")',
    'pictures.three_doors("nightly.py")',
    "from domostats.lessons import tokens\n\ntokens.draw_lanes()",
    """
ends = [-400, -3, 0, 9, 90]
tokens.draw_days([{"token_name": f"token {n}", "days_left": n} for n in ends])
""",
    'check.solution("all_rows")',
    """
from domostats.clients.domo.auth import get_session_token

get_session_token(instance, instance.username, "a guess")
""",
]
OVERFLOWING = f"""() => [...document.querySelectorAll('{OUTPUTS} .jp-RenderedHTMLCommon')]
    .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1)
    .map(one => one.innerText.slice(0, 80))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab as `domostats lab` starts it for somebody new; gives its address and the folder."
    home = tmp_path_factory.mktemp("learner")
    (home / ".jupyter").mkdir()
    config = {"LabApp": {"expose_app_in_browser": True}}  # for this test to see what Lab is at
    (home / ".jupyter" / "jupyter_lab_config.json").write_text(json.dumps(config))
    hidden = "DOMO", "DATORAMA", "JUPYTER", "XDG_", "IPYTHON"
    environment = {name: v for name, v in os.environ.items() if not name.startswith(hidden)}
    environment |= {"HOME": str(home), "JUPYTER_PORT": "0"}
    command = [sys.executable, "-m", "domostats", "lab", "--no-browser"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        address = address_of(process, home)
        yield address, home / "lessons"
        with requests.Session() as web:  # Lab ends its kernels, and then the command ends
            web.trust_env = False
            base, _, token = address.partition("?token=")
            web.headers["Authorization"] = f"token {token}"
            web.post(f"{base}api/shutdown", timeout=60)
        process.wait(60)
    finally:
        process.kill()


def address_of(process, home):
    "The address of a Lab with its token, as soon as it answers there."
    for _ in range(1200):
        for note in home.rglob("jpserver-*.json"):
            text = note.read_text()
            if text.endswith("}"):
                said = json.loads(text)
                return f"{said['url']}?token={said['token']}"
        assert process.poll() is None, (home / "log").read_text()
        time.sleep(0.1)
    raise AssertionError((home / "log").read_text())


@pytest.fixture(scope="module")
def chromium():
    "A browser without a window that reaches this machine only."
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("Chromium is not installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, ALONE])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, lab):
    "A function that opens the Lab at a path; what goes wrong in the browser fails the test."
    address, _ = lab
    page = chromium.new_page(viewport=dict(zip(("width", "height"), SIZES[0], strict=True)))
    page.set_default_timeout(PATIENCE)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)

    def opened(name="index.ipynb", path=""):
        page.goto(address.replace("?", f"{path}?"))
        wait_for_notebook(page, name)
        return page

    yield opened
    page.close()
    assert faults == []


def wait_for_notebook(page, name):
    "Wait until a notebook is in front, with its kernel ready and the keyboard in it."
    label = "name => window.jupyterapp?.shell.currentWidget?.title.label === name"
    page.wait_for_function(label, arg=name)
    page.wait_for_function(READY)


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def run_cell(page):
    "Run the active cell by keyboard, and wait for what it gives; tells what it was."
    cell = page.evaluate(CELL)
    press(page, "Shift+Enter")
    page.wait_for_function(RAN, arg=cell["number"])
    return cell


def run_until(page, words):
    "Run cell by cell until the active one has these words."
    for _ in range(60):
        if words in page.evaluate(CELL)["source"]:
            return
        run_cell(page)
    raise AssertionError(f"no cell with {words!r}")


def answer(page, source):
    "Write an answer into the active cell, run it and the check below it."
    press(page, "Enter", "Control+a")
    page.keyboard.insert_text(source)
    run_cell(page)
    return run_cell(page)["number"]


def said_by(page, number):
    "What the output of a cell says."
    return page.evaluate(
        "number => window.jupyterapp.shell.currentWidget.content.widgets[number].node"
        ".querySelector('.jp-OutputArea').innerText",
        number,
    )


def check_access(page):
    "No serious fault of accessibility in what we show. What Lab itself does is not ours."
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=OUTPUTS).response
    assert found["passes"], "axe has looked at nothing"
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []


def look(page, **places):
    """Look at the outputs in both sizes, light and dark: nothing is cut off, and all can read them.

    Where SCREENSHOTS names a folder, each of the places (a name, and words that are to be in the
    picture) is kept there as a picture."""
    folder = os.environ.get("SCREENSHOTS")
    for theme in THEMES:
        page.evaluate(
            "theme => { window.jupyterapp.commands.execute('apputils:change-theme', {theme}); }",
            theme,
        )
        page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(OVERFLOWING) == []
            for name, words in places.items() if folder else ():
                page.get_by_text(words).last.scroll_into_view_if_needed()
                shade = theme.split()[1].lower()
                page.screenshot(path=Path(folder) / f"{name}_{shade}_{width}.png")
        check_access(page)


def test_a_learner_comes_to_the_first_task_and_sees_the_progress(visit):
    page = visit()
    assert page.locator(".Toastify__toast").count() == 0  # nobody asks about news
    look(page, landing="How far")
    run_until(page, "lessons.home()")
    run_cell(page)  # as the page says: from then on it follows
    link = page.get_by_role("link", name="Begin")
    link.focus()
    press(page, "Enter")
    wait_for_notebook(page, "1_accounts.ipynb")
    run_until(page, "one_row = ...")
    check = answer(page, 'one_row = "a provider"\nrows = len(providers)')
    assert "○ Not yet · task 1 of 11" in said_by(page, check)
    look(page, not_yet="task 1 of 11")
    press(page, "ArrowUp", "ArrowUp")
    right = 'sum(len(provider["accounts"]) for provider in providers)'
    answer(page, f'one_row = "an account"\nrows = {right}')
    assert "✓ Passed · task 1 of 11" in said_by(page, check)
    look(page, passed="task 1 of 11")

    press(page, "Control+Shift+[")
    wait_for_notebook(page, "index.ipynb")
    row = page.get_by_role("row").filter(has_text="DomoStats-style")
    row.filter(has_text="1 of 11").wait_for()  # nothing is pressed for that
    link = page.get_by_role("link", name="Go on")
    link.focus()
    press(page, "Enter")
    wait_for_notebook(page, "1_accounts.ipynb")
    page.wait_for_function(
        """() => {
            const headings = [...document.querySelectorAll('.jp-Notebook h3')];
            const wanted = headings.find(one => one.innerText.startsWith('Task 2'));
            const top = wanted && wanted.getBoundingClientRect().top;
            return wanted && wanted.offsetParent && top > 0 && top < window.innerHeight;
        }"""
    )

    press(page, "Control+Shift+[")
    wait_for_notebook(page, "index.ipynb")
    look(page, landing_back="How far")
    page.reload()  # what was not saved is gone, and the page is opened anew
    wait_for_notebook(page, "index.ipynb")
    row.filter(has_text="1 of 11").wait_for()


def test_pictures_and_what_the_kit_says_can_be_read_in_every_light(visit, lab):
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in PICTURES]
    _, folder = lab
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.write(notebook, folder / "pictures.ipynb")
    page = visit("pictures.ipynb", "lab/workspaces/pictures/tree/pictures.ipynb")
    for _ in PICTURES:
        run_cell(page)
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator(f"{OUTPUTS} svg[role=img] title")).to_have_count(9, timeout=60_000)
    assert "Not yet" in said_by(page, 9) and "there were 0" in said_by(page, 9)
    error = said_by(page, 10)
    assert "Stopped · CredentialsError, wrong_password" in error and "%tb" in error
    assert "Traceback (most" not in error and "File" not in error
    look(
        page,
        boxes="what we want",
        strip="came twice",
        nights="no try",
        ways="PARTITION",
        parts="none is missing",
        panel="the only one",
        doors="who starts it",
        lanes="here the power may fail",
        days="-400 days",
        error="Stopped",
    )


# --- widgets --------------------------------------------------------------------------------------

SAVE_STATE = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
STATE = "application/vnd.jupyter.widget-state+json"
PASSWORD, TOKEN = 'pl\u00e4nted "pass/word" 100% sure', "planted+token/with=signs&more"
BUSY = """
import time
from pathlib import Path

for _ in range(3000):
    if Path("typed").exists():
        break
    time.sleep(0.02)
"""
WIDGET_CELLS = [
    'from domostats import widgets\n\nwidgets.SignInForm("customer")',
    'explorer = widgets.Explorer("customer", "accounts", "v1")\nexplorer',
    BUSY.strip(),
    "# the code of the explorer goes here",
    "accounts.equals(explorer.frame), len(accounts)",
]


@pytest.fixture
def customer(lab):
    """A folder of the lab where `customer` is an instance without credentials: a sandbox, whose
    secrets are known here."""
    _, lessons = lab
    folder = lessons / "customer"
    folder.mkdir()
    with sandbox.start(today=TODAY, accounts=120) as box:
        plant(box, PASSWORD, TOKEN)
        settings = f"[domostats]\nstore = here.duckdb\n[instance.customer]\nurl = {box.url}\n"
        (folder / "settings.ini").write_text(settings)
        yield folder, box


def frame_of(box):
    "The accounts as the explorer is to show them."
    return reports.accounts.generate(box, AccessToken(TOKEN, instance=box), format_fn="v1")


def write_notebook(path, cells):
    nbformat = pytest.importorskip("nbformat")
    made = [nbformat.v4.new_code_cell(source) for source in cells]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=metadata), path)


def execute(page, command):
    page.evaluate("command => window.jupyterapp.commands.execute(command)", command)


def saved(page, path):
    "Save the notebook, and give the state of its widgets as it stands in the file."
    execute(page, "docmanager:save")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    return json.loads(path.read_text())["metadata"]["widgets"][STATE]["state"]


def activate(page, number):
    "Make a cell the active one, in command mode."
    page.evaluate(
        "number => { const one = window.jupyterapp.shell.currentWidget.content;"
        " one.activeCellIndex = number; one.mode = 'command'; one.activate(); }",
        number,
    )


def test_widgets_sign_in_explore_and_hand_over_and_nothing_saved_has_a_secret(visit, customer):
    folder, box = customer
    path = folder / "widgets.ipynb"
    write_notebook(path, WIDGET_CELLS)
    page = visit("widgets.ipynb", "lab/workspaces/widgets/tree/customer/widgets.ipynb")
    execute(page, SAVE_STATE)
    run_cell(page)
    run_cell(page)
    activate(page, 2)
    press(page, "Shift+Enter")  # the kernel is busy from here on, and takes nothing
    page.get_by_label("Access token").click()
    page.keyboard.insert_text(TOKEN)
    press(page, "Tab")
    assert page.get_by_label("Access token").input_value() == ""
    assert saved(page, path) and leaks_in_files(folder, PASSWORD, TOKEN) == {}
    (folder / "typed").touch()
    page.wait_for_function(RAN, arg=2)
    page.get_by_placeholder("taken, and not shown").wait_for()
    press(page, "Enter")  # Tab led to the button
    page.get_by_text("reports come whole").wait_for()
    seen = page.get_by_role("table", name="What you will see").get_by_role("row")
    assert seen.count() == 1 + len(reports.names("domo"))  # and the row of the headings

    accounts = frame_of(box)
    page.get_by_role("button", name="Retrieve").focus()
    press(page, "Enter")
    page.get_by_text(f"accounts of customer: {len(accounts)} rows").wait_for()
    table = page.locator(".dt-container")
    table.wait_for()
    rows = table.locator("tbody tr")
    assert rows.count() == 10
    sort = table.get_by_role("button", name="account_id: Activate to sort").first
    sort.focus()
    press(page, "Enter")
    page.wait_for_function(
        "() => document.querySelector('.dt-container [aria-sort=ascending]') !== null"
    )
    name = str(accounts["account_name"].iloc[77])
    table.get_by_role("searchbox").fill(name)
    page.wait_for_function("() => document.querySelectorAll('.dt-container tbody tr').length < 10")
    assert all(name in text for text in rows.all_inner_texts())

    for words in ("CSV", "Parquet"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=f"Download {words}").click()
        kept = folder / waiting.value.suggested_filename
        waiting.value.save_as(kept)
        read = to_dataframe(read_file(kept)).astype("string")
        assert read.equals(accounts.astype("string"))

    page.get_by_role("button", name="Show the code").focus()
    press(page, "Space")
    code = page.get_by_label("Code", exact=True).input_value()
    assert "widgets.signed_in" in code
    look(page, sign_in="reports come whole", explorer="One row is", code="Hide the code")
    activate(page, 3)
    press(page, "Enter", "Control+a")
    page.keyboard.insert_text(code)
    run_cell(page)
    activate(page, 4)
    run_cell(page)
    assert f"(True, {len(accounts)})" in said_by(page, 4)
    assert "accounts of customer" in json.dumps(saved(page, path))
    assert leaks_in_files(folder, PASSWORD, TOKEN) == {}


# --- history and releases -------------------------------------------------------------------------

HISTORY_CELLS = [
    """
from datetime import date, timedelta

import pandas as pd

from domostats import widgets
from domostats.loading.store import Store
from domostats.tracking import History, Loads

store = Store("nights.duckdb")
history = History("people", "id", store)
names = ["Ann", "Bob", "Cy", "Dot", "Eve"]
people = pd.DataFrame({"id": range(5), "name": names, "city": ["Lyon"] * 5})
history.snapshot(people, "2024-04-01")
history.snapshot(people.replace("Bob", "Robert"), "2024-04-02")
history.snapshot(people.replace("Bob", "Robert").drop(3), "2024-04-03")
history.snapshot(people.replace({"Lyon": "Nice"}).drop(3), "2024-04-07")
ledger = Loads(store)
days = [date(2024, 2, 1) + timedelta(n) for n in range(90)]
for day in days:
    if day.day % 9:
        rows = pd.DataFrame({"id": range(day.day % 4)})
        ledger.load("events", f"s:{day}", rows, run="night")
ledger.lines("events")[0].checksum
""",
    "viewer = widgets.HistoryViewer(history)\nviewer",
    'calendar = widgets.ReleaseCalendar("events", store, days)\ncalendar',
    "(viewer.snapshot.at.day, calendar.grid.chosen)",
]


def test_the_slider_is_moved_and_a_day_is_chosen_by_hand_and_by_keyboard(visit, lab):
    _, folder = lab
    (folder / "nights").mkdir()
    path = folder / "nights" / "nights.ipynb"
    write_notebook(path, [source.strip() for source in HISTORY_CELLS])
    page = visit("nights.ipynb", "lab/workspaces/nights/tree/nights/nights.ipynb")
    for _ in HISTORY_CELLS:
        run_cell(page)
    assert "(7, '')" in said_by(page, 3)
    slider = page.get_by_role("slider", name="As of (UTC)")
    rows = page.get_by_role("region", name="4 rows")
    rows.get_by_text("Nice").first.wait_for()
    slider.focus()
    press(page, "ArrowLeft", "ArrowLeft")
    rows = page.get_by_role("region", name="5 rows")
    rows.get_by_role("row", name="changed 1").get_by_text("Robert").wait_for()
    assert slider.get_attribute("aria-valuetext") == "2024-04-02, 2 / 4"
    page.get_by_role("button", name="Later snapshot").click()
    page.get_by_role("rowheader", name="removed").wait_for()
    page.get_by_label("Compared with").select_option("nothing")
    page.get_by_role("rowheader", name="removed").wait_for(state="detached")
    page.get_by_label("Compared with").select_option("2024-04-01")
    page.get_by_role("rowheader", name="removed").wait_for()

    day = page.get_by_role("button", name="Tuesday, 6 February 2024")
    day.click()
    page.get_by_text("Tuesday, 6 February 2024: loaded.").wait_for()
    checksum = said_by(page, 0).split("'")[1]
    assert checksum not in said_by(page, 2)
    page.get_by_role("button", name="Thursday, 1 February 2024").focus()
    press(page, "Enter")
    page.get_by_text("Thursday, 1 February 2024: loaded.").wait_for()
    assert checksum in said_by(page, 2)
    press(page, "ArrowDown", "ArrowRight", "Enter")
    page.get_by_text("s:2024-02-09", exact=False).wait_for()  # the source has it, and nobody else
    press(page, "PageDown", "Space")
    page.get_by_text("Saturday, 9 March 2024").last.wait_for()
    look(page, history="As of (UTC)", timeline="no snapshot for", calendar="February 2024")
    activate(page, 3)
    run_cell(page)
    assert "(3, '2024-03-09')" in said_by(page, 3)
    execute(page, "docmanager:save")  # or Lab asks about it when it is left
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
