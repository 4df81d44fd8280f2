"""Templates to one self-contained HTML page: no script, no request, every value made showable and escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from repo.reporting.text import count, cut, interval, invisible, percent, short, showable, signed


def render(template: str, **values: Any) -> str:
    """Render a template of this package; the result can always be encoded as UTF-8."""
    return _environment().get_template(template).render(**values) + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
        finalize=_showable,
    )
    environment.filters.update(cut=cut, short=short, percent=percent, interval=interval, signed=signed)
    environment.filters["two"] = lambda value: f"{value:.2f}"
    environment.tests["invisible"] = invisible
    environment.globals.update(count=count)
    return environment


def _showable(value: Any) -> Any:
    """Every expression of every template passes here; escaping follows."""
    return value if isinstance(value, Markup) else showable(str(value))
