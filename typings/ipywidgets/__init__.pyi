"The part of ipywidgets that domostats uses: the package has no types of its own."

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Any

from traitlets import HasTraits

class Layout(HasTraits):
    def __init__(self, **traits: str) -> None: ...
    display: str
    width: str

class Widget(HasTraits):
    comm: Any  # None where it is closed
    def __init__(self, **traits: Any) -> None: ...
    def hold_sync(self) -> AbstractContextManager[None]: ...
    def close(self) -> None: ...
    def on_msg(self, callback: Callable[..., object], remove: bool = ...) -> None: ...
    def send(self, content: object, buffers: Sequence[bytes] | None = ...) -> None: ...

class DOMWidget(Widget):
    layout: Layout
    tooltip: str
    def add_class(self, className: str) -> DOMWidget: ...
    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, Any] | None: ...

class Button(DOMWidget):
    description: str
    disabled: bool
    button_style: str
    def on_click(self, callback: Callable[[Button], object], remove: bool = ...) -> None: ...
    def click(self) -> None: ...

class ToggleButton(DOMWidget):
    value: bool
    description: str
    disabled: bool

class Checkbox(DOMWidget):
    value: bool
    description: str
    disabled: bool

class HTML(DOMWidget):
    value: str
    def __init__(self, value: str = ..., **traits: Any) -> None: ...

class Text(DOMWidget):
    value: str
    disabled: bool
    def __init__(self, value: str = ..., **traits: Any) -> None: ...

class Combobox(Text):
    options: tuple[str, ...]

class Textarea(DOMWidget):
    value: str
    disabled: bool
    def __init__(self, value: str = ..., **traits: Any) -> None: ...

class Dropdown(DOMWidget):
    value: Any  # one of the values of its options, of whatever type; None without any
    options: Any  # values, or pairs of a label and a value
    disabled: bool

class DatePicker(DOMWidget):
    value: date | None
    disabled: bool

class Box(DOMWidget):
    children: Sequence[DOMWidget]
    def __init__(self, children: Sequence[DOMWidget] = ..., **traits: Any) -> None: ...

class HBox(Box): ...
class VBox(Box): ...
