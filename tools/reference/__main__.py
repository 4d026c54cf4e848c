"""Write the reference pages into docs/. `make docs` runs it."""

from pathlib import Path

from tools.reference import PAGES


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        Path(__file__).parents[2].joinpath("docs", name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
