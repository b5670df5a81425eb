"""The templates of pages; control characters in what they insert are replaced by escapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from danlu.printable import printable, printable_lines


def templates(
    package: str, folder: str = "templates", *, html: bool, shown: Callable[[Any], Any] | None = None
) -> Environment:
    r"""The templates of a package.

    Args:
        package: name of the package.
        folder: folder of the templates in the package.
        html: whether the special characters of HTML are escaped.
        shown: applied to all values; by default control characters are escaped.

    >>> page = templates("danlu.app.report", html=True).from_string("{{ name }}")
    >>> page.render(name="\x1b[31m<b>")
    '\\x1b[31m&lt;b&gt;'
    """
    environment = Environment(
        loader=PackageLoader(package, folder),
        autoescape=html,
        finalize=shown or _shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
    environment.filters["printable"] = printable  # for names, which have one line
    return environment


def _shown(value: Any) -> Any:
    """Text with control characters escaped; figures are Markup, whose text has been escaped when they were drawn."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value
