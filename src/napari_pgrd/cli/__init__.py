"""``pgrd``: the command line. One function a command; what needs torch is imported when a command runs."""

from __future__ import annotations

import sys

import typer

from napari_pgrd.cli import batch, bundles, comparing, fingerprint, inference, training
from napari_pgrd.engine.errors import PgrdError

INTERRUPTED, REFUSED = 130, 2

app = typer.Typer(
    help="Segment medical images by prior-guided residual diffusion, with their uncertainty. "
    "For research use; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (inference.predict, inference.evaluate, comparing.compare, inference.demo, inference.review):
    app.command()(command)
app.command()(batch.batch)
app.command()(fingerprint.fingerprint)
app.add_typer(training.app, name="train")
app.add_typer(bundles.app, name="bundle")


def main() -> None:
    """Run ``pgrd``: what the user can mend is one sentence on stderr and exit status 2."""
    try:
        app()
    except KeyboardInterrupt:
        _leave("Stopped.", INTERRUPTED)
    except PgrdError as error:
        _leave(str(error), REFUSED)
    except (MemoryError, RuntimeError) as error:
        from napari_pgrd.engine.device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _leave("Memory ran out. Choose a smaller image, patch or batch, or close other programs.", REFUSED)
    except OSError as error:
        _leave(f"{error.strerror or error}: {error.filename or 'a file'}. Check that path and its rights.", REFUSED)


def _leave(sentence: str, status: int) -> None:
    print(f"pgrd: {sentence}", file=sys.stderr)
    sys.exit(status)
