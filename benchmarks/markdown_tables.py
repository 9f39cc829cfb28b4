"""Tables as the documentation has them, printed row by row; what benchmarks share."""


def row(*cells: object) -> None:
    """Prints a row of a Markdown table."""
    print(
        "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def head(*names: str) -> None:
    """Prints the head of a Markdown table."""
    print()
    row(*names)
    print("|" + " --- |" * len(names))
