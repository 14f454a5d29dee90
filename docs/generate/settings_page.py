"""The table of settings, from `Settings`."""

from docs.generate.markdown import code, name, table
from shared.settings import Settings


def settings_table() -> str:
    """Return a row for each setting; its anchor is its name in lower case."""
    rows = []
    for setting, field in Settings.model_fields.items():
        shown = "" if field.default in (None, "") else code(field.default)
        rows.append((name(setting.upper(), setting), shown, field.description or ""))
    return table(("name", "default", "what it does"), rows)
