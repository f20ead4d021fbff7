"""The widgets through their Python side, without a browser: what they say, hold, send and save."""

import html
import json
import re
import subprocess
import sys
import threading
from datetime import date

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("itables")
pytest.importorskip("anywidget")

import ipywidgets
from conftest import TODAY, plant
from secret_search import leaks
from widget_support import close_all, names_of, part, parts, press, said, saved_state, type_secret

from domostats import reports, sandbox, widgets
from domostats.errors import CredentialsError, SettingsError
from domostats.loading.files import read_file
from domostats.progress import pause, tracked, under_way
from domostats.reports.plan import estimate
from domostats.rows.table import to_dataframe
from domostats.widgets.choices import Choice
from domostats.widgets.data_table import data_table, frame_html, part_shown
from domostats.widgets.downloads import DownloadButton, FileMade
from domostats.widgets.explorer import Explorer
from domostats.widgets.looks import WIDGET_VIEW, action_button, message_html, mime_bundle
from domostats.widgets.retrieval import RetrievalStopped, retrieve
from domostats.widgets.secret_box import SecretBox
from domostats.widgets.sign_in import WAYS, SignInForm, find_sign_in, sign_out, signed_in

ALL = len(reports.names("domo"))
PLANTED = 'plänted "pass/word" 100% sure', "planted+token/with=signs&more"


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    close_all()


# --- what all of them share -----------------------------------------------------------------------


def test_a_bundle_has_the_widget_and_what_is_shown_without_one():
    bundle = mime_bundle(ipywidgets.Text(), "<p>text</p>", "text")
    assert {*bundle} == {WIDGET_VIEW, "text/html", "text/plain"}
    assert bundle["text/html"] == "<p>text</p>" and bundle["text/plain"] == "text"


@pytest.mark.parametrize("kind", ["done", "working", "about", "note", "error"])
def test_a_message_is_escaped_read_out_and_coloured_by_the_theme(kind):
    shown = message_html(kind, "<script>1</script>", ["<b>&"])
    assert "<script>" not in shown and "<b>" not in shown and "&lt;b&gt;&amp;" in shown
    assert re.search('role="(status|alert)"', shown)
    assert all(one.startswith("var(--jp-") for one in re.findall(r"color:([^;]+)", shown))


def test_what_a_screen_reader_says_of_a_button_begins_with_its_words():
    for tooltip in ("at once", "Look at once"):
        assert action_button("Look", tooltip).tooltip.startswith("Look")


def test_the_room_loads_no_library_and_says_which_is_missing():
    program = """
import sys
from domostats import widgets
loaded = {'ipywidgets', 'anywidget', 'itables', 'pandas', 'IPython'} & {*sys.modules}
assert not loaded, loaded
for name in ('anywidget', 'ipywidgets', 'itables'):
    sys.modules[name] = None
for name in widgets.PLACES:
    try:
        getattr(widgets, name)
    except Exception as e:
        assert e.reason == 'not_installed' and "domostats[widgets]" in str(e), e
    else:
        raise AssertionError(name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_no_widget_is_no_attribute():
    assert not hasattr(widgets, "Nothing")
    assert {*widgets.PLACES} <= {*dir(widgets)}
    for name in widgets.PLACES:
        assert getattr(widgets, name).__name__ == name


# --- a box for a secret ---------------------------------------------------------------------------


@pytest.mark.parametrize("secret", PLANTED)
def test_a_secret_is_handed_over_once_and_saved_nowhere(secret):
    box = SecretBox("Password")
    type_secret(box, "Password", secret)
    assert box.is_held and not leaks(saved_state(box).encode(), secret)
    taken = box.take()
    assert taken.reveal() == secret and box.take() is None and not box.is_held
    assert not leaks(saved_state(box).encode(), secret)


def test_enter_submits_what_was_typed_before_too():
    box, taken = SecretBox("Password"), []
    box.on_submit(lambda: taken.append(box.take()))
    type_secret(box, "Password", PLANTED[0])
    assert not taken
    type_secret(box, "Password", "", submitted=True)
    assert taken[0].reveal() == PLANTED[0]


@pytest.mark.parametrize("odd", [{}, {"secret": None}, {"secret": ["a"]}, {"secret": 1}])
def test_a_message_of_another_form_is_no_secret(odd):
    box = SecretBox("Password")
    box._handle_custom_msg({**odd}, [])
    assert box.take() is None


def test_a_secret_that_cannot_be_one_is_an_error_that_does_not_show_it():
    box = SecretBox("Password")
    type_secret(box, "Password", "planted\ud800")
    with pytest.raises(SettingsError) as caught:
        box.take()
    assert caught.value.reason == "malformed_secret" and "planted" not in str(caught.value)


# --- downloads ------------------------------------------------------------------------------------


def test_a_file_goes_to_the_view_that_asks_and_an_error_to_whom_it_concerns():
    sent, heard = [], []
    button = DownloadButton("CSV", lambda: FileMade("a.csv", b"1"), on_error=heard.append)
    button.send = lambda content, buffers=None: sent.append((content, buffers))
    button._handle_custom_msg({"view": "x"}, [])
    assert sent == [({"view": "x", "name": "a.csv"}, [b"1"])] and not heard
    button.make = lambda: 1 / 0
    button._handle_custom_msg({"view": "x"}, [])
    assert len(sent) == 1 and isinstance(heard[0], ZeroDivisionError)


def test_every_part_that_one_can_use_has_a_name():
    made = [SecretBox("Password"), DownloadButton("CSV", lambda: FileMade("a", b""))]
    for one in (one for widget in made for one in parts(widget)):
        assert names_of(one)


# --- signing in -----------------------------------------------------------------------------------

TOKEN_WAY, PASSWORD_WAY, SETTINGS_WAY = (way.label for way in WAYS["domo"])


@pytest.fixture
def form(box):
    "A form for the sandbox, whose administrator has secrets that are known here."
    plant(box, *PLANTED)
    yield SignInForm(box)
    sign_out(box)


def shown_by(view):
    "All that anybody can see or save of a widget: its forms, its state, its repr."
    return f"{view._repr_mimebundle_()}\n{view!r}\n{saved_state(view.widget)}"


def test_a_token_signs_in_and_tells_what_will_be_seen(box, form):
    type_secret(form.widget, "Access token", PLANTED[1])
    press(form.widget, "Sign in")
    assert f"user {box.domo.admin.user['id']}" in said(form.widget)
    assert f"All {ALL} reports come whole." in said(form.widget) and "accounts" in said(form.widget)
    auth = signed_in(box.name)
    assert auth.kind == "access token" and reports.users.generate(box, auth).shape[0] > 3
    assert not leaks(shown_by(form).encode(), *PLANTED)


def test_a_password_signs_in_by_enter_and_the_session_serves_the_cells(box, form):
    form.way_box.value = PASSWORD_WAY
    form.user_box.value = box.username
    assert [*names_of(form.secret_box)] == ["Password"]
    type_secret(form.widget, "Password", PLANTED[0], submitted=True)
    assert f"All {ALL} reports" in said(form.widget) and signed_in(box).kind == "session"
    assert not leaks(shown_by(form).encode(), *PLANTED)


@pytest.mark.parametrize("way", [TOKEN_WAY, PASSWORD_WAY])
@pytest.mark.parametrize("stands", ["runs", "has ended"])
def test_what_is_wrong_is_one_sentence_without_the_secret(box, form, way, stands):
    form.way_box.value = way
    form.user_box.value = "nobody@example.com"
    if stands == "has ended":
        box.stop()
    type_secret(form.widget, form.secret_box.name, wrong := f"{PLANTED[1]}-wrong")
    press(form.widget, "Sign in")
    assert 'role="alert"' in said(form.widget) and "Traceback" not in said(form.widget)
    assert find_sign_in(box) is None and not form.secret_box.is_held
    assert not leaks(shown_by(form).encode(), *PLANTED, wrong)


def test_who_sees_a_part_is_told_which_reports_only_look_complete(box, form):
    form.way_box.value = PASSWORD_WAY
    form.user_box.value = box.limited.username
    type_secret(form.widget, "Password", box.limited.password)
    press(form.widget, "Sign in")
    parts = [name for name in reports.names("domo") if reports.find(name).needs]
    told = re.findall(r"<td[^>]*>(\w+)</td><td[^>]*>a part</td>", said(form.widget))
    assert told and {*told} <= {*parts}
    assert f"{len(told)} of {ALL} reports come in part only" in said(form.widget)
    assert said(form.widget).index("a part") < said(form.widget).index("all of it")


def test_the_settings_are_a_way_that_needs_no_box(box, form):
    type_secret(form.widget, "Access token", PLANTED[1])
    press(form.widget, "Sign in")
    form.way_box.value = SETTINGS_WAY
    assert form.secret_box.layout.display == form.user_box.layout.display == "none"
    press(form.widget, "Sign in")
    assert f"All {ALL} reports" in said(form.widget)
    assert find_sign_in(box) is None  # what the settings hold is taken by everything anyway


def test_nothing_typed_and_no_instance_are_told_without_a_call(box, form):
    press(form.widget, "Sign in")
    assert "Type the access token first." in said(form.widget)
    form.instance.box.value = ""
    press(form.widget, "Sign in")
    assert "Name an instance first." in said(form.widget) and not box.calls


def test_signing_out_forgets_the_credential_and_a_cell_is_told_what_to_do(box, form):
    type_secret(form.widget, "Access token", PLANTED[1])
    press(form.widget, "Sign in")
    press(form.widget, "Sign out")
    assert "Signed out" in said(form.widget) and part(form.widget, "Sign out").disabled
    with pytest.raises(CredentialsError, match=r"SignInForm\(\"sandbox\"\)") as caught:
        signed_in(box)
    assert caught.value.reason == "missing_secret"


def test_each_platform_has_ways_of_its_own(own_folder):
    with sandbox.start_datorama() as region:
        form = SignInForm(region)
        assert form.way_box.options == ("an API token", SETTINGS_WAY)
        type_secret(form.widget, "API token", region.api_token.reveal())
        press(form.widget, "Sign in")
        assert "workspaces" in said(form.widget) and signed_in(region).kind == "API token"
        assert not leaks(shown_by(form).encode(), region.api_token.reveal())
        sign_out(region)


def test_without_widgets_a_form_says_what_to_do_instead(form):
    bundle = form._repr_mimebundle_()
    assert "DOMO_ACCESS_TOKEN" in bundle["text/html"] and "DOMO_ACCESS_TOKEN" in repr(form)


# --- the explorer ---------------------------------------------------------------------------------


def explore(*what):
    "An explorer whose rows have come."
    explorer = Explorer(*what)
    explorer.retrieve()
    assert explorer.wait(60)
    return explorer


def same_in_a_cell(explorer):
    "The data frame that the shown code gives."
    names = {}
    exec(explorer.code_box.value, names)
    return names[explorer.form.report_box.value]


SHAPES = [(name, one) for name in reports.names("domo") for one in reports.find(name).formatters]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("report, formatter", SHAPES)
def test_the_code_that_is_shown_gives_the_same_frame(box, report, formatter):
    explorer = explore(box, report, formatter)
    pd.testing.assert_frame_equal(explorer.frame, same_in_a_cell(explorer))
    assert f"{len(explorer.frame)} rows" in said(explorer.widget)


@pytest.mark.parametrize("report", reports.names("datorama"))
def test_datorama_is_explored_in_the_same_way(own_folder, report):
    with sandbox.start_datorama(today=TODAY, workspaces=1, streams=4) as region:
        explorer = explore(region, report)
        assert '"datorama"' in explorer.code_box.value
        region.clock.step(120)  # its calls a minute are few
        pd.testing.assert_frame_equal(explorer.frame, same_in_a_cell(explorer))


@pytest.mark.parametrize(
    "since, until", [(None, date(2024, 3, 8)), (date(2024, 3, 25), None), (date(2024, 3, 1),) * 2]
)
def test_dates_narrow_the_rows_as_they_do_in_a_cell(box, since, until):
    explorer = Explorer(box, "activity_log")
    explorer.form.since_box.value, explorer.form.until_box.value = since, until
    explorer.retrieve()
    assert explorer.wait(60)
    pd.testing.assert_frame_equal(explorer.frame, same_in_a_cell(explorer))
    moments = explorer.frame.select_dtypes("datetimetz").iloc[:, 0].dt.date
    assert since is None or not len(moments) or moments.min() >= since
    assert until is None or not len(moments) or moments.max() < until


def test_a_date_that_has_no_effect_is_switched_off_and_left_out(box):
    explorer = Explorer(box, "activity_log")
    explorer.form.since_box.value = date(2024, 3, 25)
    explorer.form.report_box.value = "groups"
    assert explorer.form.since_box.layout.display == "none"
    assert explorer.form.choice.since is None
    assert "since" not in explorer.code_box.value


def test_to_choose_asks_nobody_and_the_cost_is_told_before_it_begins(box):
    explorer = Explorer(box)
    for report in reports.names("domo"):
        explorer.form.report_box.value = report
        assert f"One row is {html.escape(reports.find(report).grain)}" in said(explorer.widget)
    assert not box.calls
    explorer.form.report_box.value = "accounts"
    press(explorer.widget, "Estimate")
    assert explorer.wait(60) and explorer.frame is None
    cost = estimate(reports.accounts.report, box, format_fn=explorer.form.choice.formatter)
    assert f"about {cost.total} calls" in said(explorer.widget)


def test_what_takes_long_begins_when_it_is_asked_for_twice(box, monkeypatch):
    monkeypatch.setattr("domostats.widgets.explorer.PATIENCE", -1.0)
    explorer = explore(box, "groups")
    assert explorer.frame is None and "Press Retrieve again" in said(explorer.widget)
    assert "min under the rate limit" in said(explorer.widget)
    press(explorer.widget, "Retrieve")
    assert explorer.wait(60) and len(explorer.frame)


def test_what_was_stopped_goes_on_where_it_was(own_folder):
    with sandbox.start(today=TODAY, users=4_000) as box:
        whole = reports.find("users").run(box, format_fn="all", fresh=True)
        everything = len(box.calls)
        choice = Choice(box, "users", "all")
        stop = threading.Event()
        with pytest.raises(RetrievalStopped) as caught:
            retrieve(choice, tell=lambda rows: stop.set(), is_stopped=stop.is_set)
        assert 0 < caught.value.rows < len(whole.table)
        asked = len(box.calls) - everything
        told = []
        again = retrieve(choice, tell=told.append)
        pd.testing.assert_frame_equal(again.dataframe(), whole.dataframe())
        assert told == sorted(told) and told[-1] == len(whole.table)
        twice = len(box.calls) - 2 * everything  # three rechecks, and ten were under way at most
        assert asked > 3 and twice <= 3 + 10


def test_the_stop_button_works_while_rows_come_and_says_how_to_go_on(box, monkeypatch):
    begun, stopped = threading.Event(), threading.Event()

    def slowly(choice, credential, is_stopped):
        begun.set()
        assert stopped.wait(60) and is_stopped()
        raise RetrievalStopped(7)

    monkeypatch.setattr("domostats.widgets.explorer.retrieve", slowly)
    explorer = Explorer(box, "groups")
    assert part(explorer.widget, "Stop").disabled
    press(explorer.widget, "Retrieve")
    assert begun.wait(60) and part(explorer.widget, "Retrieve").disabled
    explorer.retrieve()  # a second press changes nothing
    press(explorer.widget, "Stop")
    stopped.set()
    assert explorer.wait(60) and "Stopped. The pages" in said(explorer.widget)
    assert "goes on from there" in said(explorer.widget)
    assert part(explorer.widget, "Stop").disabled and not part(explorer.widget, "Retrieve").disabled


def test_how_far_it_is_and_a_stop_in_a_wait_are_told_in_the_form(box, monkeypatch):
    monkeypatch.setattr("domostats.progress.AFTER", -1.0)
    heard, begun = [], threading.Event()

    def slowly(choice, credential, is_stopped):
        with tracked("groups", "acme") as work:
            work.add(done=1200, pages=12)
            under_way.look()
            heard.append(said(explorer.widget))
            begun.set()
            for _ in range(6000):
                pause(0.01)  # as in a wait for the rate limit

    monkeypatch.setattr("domostats.widgets.explorer.retrieve", slowly)
    explorer = Explorer(box, "groups")
    explorer.retrieve()
    assert begun.wait(60)
    press(explorer.widget, "Stop")
    assert explorer.wait(60) and "Stopped. The pages" in said(explorer.widget)
    assert "groups of acme" in heard[0] and "1\u202f200" in heard[0].replace(" ", "\u202f")
    assert under_way.is_idle


def test_a_file_that_is_downloaded_reads_back_as_the_frame(box, tmp_path):
    explorer = explore(box, "accounts", "domostats")
    for words, name in (
        ("Download CSV", "accounts.csv"),
        ("Download Parquet", "accounts.parquet"),
    ):
        [(content, buffers)] = press(explorer.widget, words)
        assert content == {"view": "here", "name": name}
        (tmp_path / name).write_bytes(buffers[0])
        read = to_dataframe(read_file(tmp_path / name))
        assert read.astype("string").equals(explorer.frame.astype("string"))


def test_before_rows_came_nothing_can_be_downloaded(box):
    explorer = Explorer(box)
    with pytest.raises(SettingsError) as caught:
        explorer.make_file(".csv")
    assert caught.value.reason == "nothing_to_download"
    assert all(part(explorer.widget, f"Download {kind}").disabled for kind in ("CSV", "Parquet"))


def test_rows_that_may_be_missing_are_told_in_the_sentence_and_in_the_name(box):
    form = SignInForm(box, box.limited.username)
    form.way_box.value = PASSWORD_WAY
    type_secret(form.widget, "Password", box.limited.password, submitted=True)
    explorer = explore(box, "accounts")
    assert "Rows may be missing." in said(explorer.widget)
    [(content, _)] = press(explorer.widget, "Download CSV")
    assert content["name"] == "accounts.incomplete.csv"
    assert "widgets.signed_in" in explorer.code_box.value
    with pytest.warns(UserWarning, match="Rows may be missing"):
        again = same_in_a_cell(explorer)
    pd.testing.assert_frame_equal(explorer.frame, again)
    assert not leaks(shown_by(explorer).encode(), box.limited.password)
    sign_out(box)


def test_what_goes_wrong_is_one_sentence_and_can_be_tried_again(box):
    box.fail("unavailable", times=None)
    explorer = explore(box, "groups")
    assert 'role="alert"' in said(explorer.widget) and explorer.frame is None
    assert not part(explorer.widget, "Retrieve").disabled
    box.heal()
    press(explorer.widget, "Retrieve")
    assert explorer.wait(60) and len(explorer.frame)


def test_an_instance_that_is_none_is_told_where_it_is_named(box):
    explorer = Explorer(box, "groups")
    explorer.form.instance.box.value = "no such name"
    assert "is not the name of an instance" in said(explorer.widget)
    assert explorer.code_box.value == ""
    press(explorer.widget, "Retrieve")
    assert 'role="alert"' in said(explorer.widget) and not box.calls


def test_without_widgets_the_first_rows_and_the_code_are_shown(box):
    explorer = explore(box, "users")
    bundle = explorer._repr_mimebundle_()
    assert "Only the first 10 of" in bundle["text/html"]
    assert "reports.users.generate" in bundle["text/html"]
    assert "reports.users.generate" in bundle["text/plain"]
    assert "<script" not in bundle["text/html"]


def test_every_part_of_the_forms_that_one_can_use_has_a_name(box):
    usable = ipywidgets.ValueWidget, ipywidgets.Button, SecretBox, DownloadButton
    for view in (SignInForm(box), Explorer(box)):
        for one in parts(view.widget):
            if isinstance(one, usable) and not isinstance(one, ipywidgets.HTML):
                assert names_of(one), one


# --- the table ------------------------------------------------------------------------------------


NUMBERS = 0, 1, -7, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_no_whole_number_is_rounded_in_a_browser_and_no_null_is_a_number(numbers):
    frame = pd.DataFrame({"id": pd.array(numbers, "Int64"), "other": pd.array(numbers, "object")})
    sent = json.loads(data_table(frame)._dt_args["data_json"], parse_int=as_javascript)
    assert [str(row[0]) for row in sent] == ["" if one is None else str(one) for one in numbers]


@settings(deadline=None)
@given(st.lists(st.text(max_size=200) | st.none(), min_size=1, max_size=5))
def test_a_text_is_whole_and_is_not_taken_for_html(texts):
    frame = pd.DataFrame({"name": pd.array(texts, "string")})
    sent = [row[0] for row in json.loads(data_table(frame)._dt_args["data_json"])]
    shown = [html.unescape(one).split() for one in sent]  # a page shows blanks as one
    assert not [one for one in sent if "<" in one or ">" in one]
    breaks = str.maketrans({"\n": "\\n", "\t": "\\t", "\r": "\\r"})  # they stand as in Python
    assert shown == [["<NA>"] if one is None else one.translate(breaks).split() for one in texts]


def as_javascript(text):
    "A whole number as JavaScript reads it: the nearest that 53 bits can hold."
    return int(float(text))


def test_what_is_not_shown_is_told_and_nothing_is_html():
    frame = pd.DataFrame({"name": ["<img src=x onerror=alert(1)>"] * 30})
    table = data_table(frame, most=20)
    assert len(json.loads(table._dt_args["data_json"])) == 20
    assert part_shown(30, most=20) == "Only the first 20 of 30 rows are shown here."
    assert "<img" not in table._dt_args["data_json"] + frame_html(frame)
    assert (
        "downsampling_warning" not in table._dt_args or not table._dt_args["downsampling_warning"]
    )
