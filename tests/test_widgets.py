"""The widgets through their Python side, without a browser: what they say, hold, send and save."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("anywidget")

import ipywidgets
from secret_search import leaks
from widget_support import close_all, names_of, parts, saved_state, type_secret

from domostats import widgets
from domostats.errors import SettingsError
from domostats.widgets.downloads import DownloadButton, FileMade
from domostats.widgets.looks import WIDGET_VIEW, action_button, message_html, mime_bundle
from domostats.widgets.secret_box import SecretBox

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


@pytest.mark.parametrize("kind", ["done", "working", "note", "error"])
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
    for one in (part for widget in made for part in parts(widget)):
        assert names_of(one)
