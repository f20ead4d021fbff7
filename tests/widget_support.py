"""Widgets without a browser: what is in them, pressing, typing, and what would be saved."""

import json

from ipywidgets import Widget
from ipywidgets.embed import dependency_state

from domostats.widgets.secret_box import SecretBox


def parts(widget):
    "A widget and all that is in it, in the order in which they are shown."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from parts(child)


def part(widget, name):
    "The one part of a widget that has this name in front of it, or these words on it."
    found = [one for one in parts(widget) if name in names_of(one)]
    assert len(found) == 1, (name, [names_of(one) for one in parts(widget)])
    return found[0]


def names_of(widget):
    "The words by which a user, and a screen reader, know a part."
    return {getattr(widget, name, "") for name in ("description", "name", "words")} - {""}


def press(widget, name):
    "Press a button; one that is switched off cannot be pressed."
    button = part(widget, name)
    assert not button.disabled, f"{name} is switched off"
    if hasattr(button, "click"):
        button.click()
        return None
    sent = []
    button.send = lambda content, buffers=None: sent.append((content, buffers))
    button._handle_custom_msg({"view": "here"}, [])
    return sent


def type_secret(widget, name, secret, submitted=False):
    "Type into a `SecretBox` as a browser does, and leave it, or press Enter."
    box = part(widget, name)
    assert isinstance(box, SecretBox) and not box.disabled
    box._handle_custom_msg({"secret": secret, "submitted": submitted}, [])


def said(widget):
    "All HTML that a widget shows now."
    shown = [one for one in parts(widget) if type(one).__name__ == "HTML"]
    return "\n".join(one.value for one in shown if one.layout.display != "none")


def saved_state(*widgets):
    "What JupyterLab would save of these widgets with a notebook, and what they hold, as text."
    state = dependency_state([*widgets], drop_defaults=False)
    held = [vars(one) for widget in widgets for one in parts(widget)]
    return json.dumps(state, default=repr) + repr(held)


def close_all():
    "Close every widget that there is: those of other tests are none of this one's business."
    Widget.close_all()
