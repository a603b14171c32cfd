"""Options of commands that are made from the settings: name, default and description are those of ``app.settings``."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

Command = Callable[..., None]
METAVARS: dict[Any, str] = {int: "INTEGER", float: "FLOAT"}


def with_settings(*names: str, of_models: bool = False) -> Callable[[Command], Command]:
    """Gives a command in a ``SettingsGroup`` an option for each setting in ``names``, and for those ``of_models``.

    The command is ``(context: typer.Context, …)``. It finds the options that were given as text in ``context.obj``, by
    the name of the setting.
    """

    def mark(command: Command) -> Command:
        command.options = partial(_options, names, of_models)  # type: ignore[attr-defined]
        return command

    return mark


class SettingsGroup(TyperGroup):
    """Commands of which only the one that runs gets its options of settings: to import them all takes too long."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As of any group: the name of the command, the command, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        marked: Any = getattr(command, "callback", None)
        if not hasattr(marked, "options"):
            return name, command, rest
        whole = typer.Typer(add_completion=False)
        whole.command(name)(_complete(inspect.unwrap(marked), list(marked.options())))
        return name, get_command(whole), rest


def _complete(command: Command, options: list[inspect.Parameter]) -> Command:
    """``command`` with ``options``, whose values it finds in the ``obj`` of its context."""

    def run(context: typer.Context, **values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in options}
        context.obj = {name: value for name, value in given.items() if value is not None}
        command(context, **values)

    signature = inspect.signature(command)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *options])  # type: ignore[attr-defined]
    run.__doc__, run.__annotations__ = command.__doc__, command.__annotations__
    return run


def _options(names: tuple[str, ...], of_models: bool) -> Iterator[inspect.Parameter]:
    from app.settings import ModelSettings, Settings

    for name in (*names, *(ModelSettings.model_fields if of_models else ())):
        field = Settings.model_fields[name]
        description = str(field.description)
        default = "" if field.default in ("", None) else f" Default: {field.default}."
        option = typer.Option(
            help=f"{description[0].upper()}{description[1:]}.{default}",
            metavar=METAVARS.get(field.annotation, "TEXT"),
            show_default=False,
        )
        annotation = Annotated[str | None, option]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
