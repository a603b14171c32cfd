"""Options of commands that are declared elsewhere: the settings in ``app.settings``, what a prediction takes in
``app.options``."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

Command = Callable[..., None]
METAVARS = {"integer": "<int>", "number": "<float>"}  # as typer has them, by the type of a JSON schema
Declared = Callable[[], Iterator[inspect.Parameter]]


def with_settings(*names: str, of_models: bool = False) -> Callable[[Command], Command]:
    """Gives a command in a ``DeclaredGroup`` an option for each setting in ``names``, and for those ``of_models``.

    The command is ``(context: typer.Context, …)``. It finds the options that were given as text in ``context.obj``, by
    the name of the setting.
    """
    return _with(partial(_settings, names, of_models))


def with_prediction(*but: str) -> Callable[[Command], Command]:
    """Gives a command, as ``with_settings`` does, every option of a prediction but those named."""
    return _with(partial(_prediction, but))


def _with(declared: Declared) -> Callable[[Command], Command]:
    def mark(command: Command) -> Command:
        command.declared = [*getattr(command, "declared", ()), declared]  # type: ignore[attr-defined]
        return command

    return mark


class DeclaredGroup(TyperGroup):
    """Commands. Only the one that runs gets its declared options, because to import all options takes too long."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As of any group: the name of the command, the command, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        marked: Any = getattr(command, "callback", None)
        if not hasattr(marked, "declared"):
            return name, command, rest
        whole = typer.Typer(add_completion=False)
        options = [option for declared in marked.declared for option in declared()]
        whole.command(name)(_complete(inspect.unwrap(marked), options))
        return name, get_command(whole), rest


def _complete(command: Command, options: list[inspect.Parameter]) -> Command:
    """``command`` with ``options``; it finds their values in the ``obj`` of its context."""

    def run(context: typer.Context, **values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in options}
        context.obj = {name: _text(name, str(value)) for name, value in given.items() if value is not None}
        command(context, **values)

    signature = inspect.signature(command)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *options])  # type: ignore[attr-defined]
    run.__doc__, run.__annotations__ = command.__doc__, command.__annotations__
    return run


def _text(name: str, value: str) -> str:
    """``value``, or what the file FILE holds for @FILE, as an option whose value may be long takes it."""
    if not value.startswith("@"):
        return value
    from app.options import LONG

    if name not in LONG:
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise typer.BadParameter(f"{value[1:]!r} cannot be read: {error}.", param_hint=f"--{name}") from None


def _settings(names: tuple[str, ...], of_models: bool) -> Iterator[inspect.Parameter]:
    from app.settings import ModelSettings, Settings

    schemas = Settings.model_json_schema()["properties"]
    for name in (*names, *(ModelSettings.model_fields if of_models else ())):
        description = str(schemas[name]["description"])
        yield _option(name, f"{description[0].upper()}{description[1:]}.", schemas[name])


def _prediction(but: tuple[str, ...]) -> Iterator[inspect.Parameter]:
    from app.option_text import accepted, properties
    from app.options import LONG

    for name, schema in properties().items():
        if name not in but:
            values = accepted(schema)
            accepts = "" if values in ("text", "names", "numbers", "true, false") else f" Accepted: {values}."
            accepts += " @FILE takes it from a file." * (name in LONG)
            yield _option(name, f"{schema['description']}{accepts}", schema)


def _option(name: str, description: str, schema: Mapping[str, Any]) -> inspect.Parameter:
    """An option, a flag if it is off by default. Its value is text, True for a flag, or None if it was not given."""
    kind = schema.get("type") or schema["anyOf"][0]["type"]
    default = schema.get("default")
    by_default = "" if default in ("", None, [], False) else f" Default: {default}."
    flag = [f"--{name.replace('_', '-')}"] if kind == "boolean" and default is False else []
    option = typer.Option(
        *flag, help=f"{description}{by_default}", metavar=None if flag else METAVARS.get(kind), show_default=False
    )
    taken: Any = bool if flag else str
    annotation = Annotated[taken | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
