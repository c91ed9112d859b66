"""``fastnet recipes list | show | run``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastnet.cli import options, screen
from fastnet.cli.app import CONTEXT, app, guarded
from fastnet.exits import FAILED


def _names() -> list[str]:
    from fastnet import recipes

    return recipes.names()


recipes_app = typer.Typer(
    help="Train networks of known tutorials: what they reported, and what is right.",
    epilog="Example: fastnet recipes run digits-sigmoid",
    no_args_is_help=True,
    context_settings={"help_option_names": CONTEXT["help_option_names"]},
    rich_markup_mode=app.rich_markup_mode,
)
app.add_typer(recipes_app, name="recipes")
RecipeName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="See fastnet recipes list.", autocompletion=_names),
]


@recipes_app.command("list", epilog="Example: fastnet recipes list")
@guarded
def list_recipes(json: options.JsonOption = False, quiet: options.QuietOption = False) -> None:
    """List the recipes."""
    from fastnet import recipes

    found = [recipes.get(name) for name in recipes.names()]
    if json:
        screen.print_json([{"name": r.name, "title": r.title, "mark": r.mark} for r in found])
    elif quiet:
        print("\n".join(recipe.name for recipe in found))
    else:
        headings = ("name", "title", "mark")
        lines = [(recipe.name, recipe.title, recipe.mark) for recipe in found]
        screen.show_table("Recipes", headings, lines, whole=["name"])


@recipes_app.command("show", epilog="Example: fastnet recipes show digits-sigmoid")
@guarded
def show_recipe(
    name: RecipeName, json: options.JsonOption = False, quiet: options.QuietOption = False
) -> None:
    """Describe a recipe: network, training, data, what was reported, wrong, and is done instead."""
    from fastnet import recipes

    recipe = recipes.get(name)
    if json:
        screen.print_json(recipe.to_dict())
    else:
        print(recipe.title if quiet else recipe)


@recipes_app.command("run", epilog="Example: fastnet recipes run digits-adam --backend numba")
@guarded
def run_recipe(
    name: RecipeName,
    backend: options.BackendOption = "auto",
    seed: Annotated[
        int | None, options.Option(help="Run this seed alone.", show_default="each of the recipe's")
    ] = None,
    data_dir: options.DataDirOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Train a recipe and test it on rows that it has never seen; exit with 1 below its mark."""
    from fastnet import recipes

    result = recipes.get(name).run(backend, seed, data_dir)
    if json:
        screen.print_json(result.to_dict())
    elif quiet:
        print(f"test accuracy {result.test_accuracy:.2%}")
    else:
        print(result)
    if result.reached is False:
        raise typer.Exit(FAILED)
