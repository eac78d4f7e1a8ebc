"""The command line."""

from __future__ import annotations

import os
import sys
import warnings


def main() -> None:
    """Entry point of `rsft`. Exit codes: 0 done, 2 a mistake that the user can fix, 130 interrupted, 1 a bug."""
    from rsft.cli.app import app
    from rsft.errors import UserError
    from rsft.wording import printable

    # Libraries' advice would break into ours; their bars (a download, say) are for whoever watches.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|trl)\b")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app(prog_name="rsft")
    except UserError as error:
        print(f"rsft: {printable(str(error))}", file=sys.stderr)  # it may quote what others wrote
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nrsft: interrupted; what was done is kept. Go on with: rsft resume RUN", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
