"""What a callable behind ``--agent`` is, by its parameters: a factory, or a plain function of the message."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from agentsocket.agent.contract import Context, Turn

Kind = Literal["factory", "factory of a context", "plain", "plain with turn"]


class UnknownKind(ValueError):  # noqa: N818  # it says what was found
    """A callable that is none of them; its text says what it wants."""


def kind_of(found: Callable[..., Any]) -> Kind:
    """Return what a callable is. A class is never a plain function.

    Raises:
        UnknownKind: if it is nothing that could be called.
    """
    if inspect.isclass(found) and found.__init__ is object.__init__ and found.__new__ is object.__new__:
        return "factory"  # as its signature would tell, but to read that takes 2 ms of the start
    required = _required(found)
    match required:
        case [] if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
            raise UnknownKind("it is a generator without a required parameter, which would be the message")
        case []:
            return "factory"
        case [only] if _is(only, Context, unless_named="context"):
            return "factory of a context"
        case [message] if _is_message(found, message):
            return "plain"
        case [message, turn] if _is_message(found, message) and (turn.name == "turn" or _is(turn, Turn)):
            return "plain with turn"
    raise UnknownKind(f"it has {len(required)} required parameters: {', '.join(str(each) for each in required)}")


def _required(found: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = _parameters(found)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if parameters and all(each.kind in variadic for each in parameters) and not inspect.isclass(found):
        raise UnknownKind("it takes anything (*args, **kwargs), and so does not say what it wants")
    required = [each for each in parameters if each.default is each.empty and each.kind not in variadic]
    if names := [each.name for each in required if each.kind is each.KEYWORD_ONLY]:
        raise UnknownKind(f"it requires {', '.join(names)} by name")
    return required


def _parameters(found: Callable[..., Any]) -> list[inspect.Parameter]:
    with contextlib.suppress(Exception):  # an annotation that is text may be anything
        return list(inspect.signature(found, eval_str=True).parameters.values())
    with contextlib.suppress(TypeError, ValueError):
        return list(inspect.signature(found).parameters.values())
    return [inspect.Parameter("message", inspect.Parameter.POSITIONAL_ONLY)]  # a builtin that does not tell


def _is_message(found: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    return not inspect.isclass(found) and (parameter.annotation is parameter.empty or _is(parameter, str))


def _is(parameter: inspect.Parameter, kind: type, *, unless_named: str = "") -> bool:
    """Whether a parameter is annotated as this, or is not annotated and has that name."""
    given = parameter.annotation
    if given is parameter.empty:
        return parameter.name == unless_named
    if get_origin(given) is Annotated:
        given = get_args(given)[0]
    # Text that could not be resolved goes by its last name.
    return given.strip("\"'").rpartition(".")[2] == kind.__name__ if isinstance(given, str) else given is kind
