"""`elmo report FOLDERS -o report.pdf`: a report that is made from finished runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from elmo.commands import base
from elmo.errors import ConfigError
from elmo.utils.shipped import SHIPPED
from elmo.utils.terminal import say

DISCUSSION = SHIPPED / "docs" / "discussion.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `elmo report`.

    Raises:
        ElmoError: the runs, the discussion or the options cannot be used.
    """
    args = _parser().parse_args(arguments)
    out = Path(args.output)
    if out.suffix != ".pdf":
        raise ConfigError(f"-o {out}: expected a name that ends in .pdf")
    if args.keep and Path(args.keep).exists():
        raise ConfigError(f"--keep {args.keep}: exists already; name a new folder")

    from elmo.report.collect import collect
    from elmo.report.keep import keep_material
    from elmo.report.pages import to_pdf
    from elmo.report.paper import write_report
    from elmo.utils.files import atomic_writer, write_text

    figures = f"{out.stem}_figures"
    material = collect([Path(folder) for folder in args.folders], args.data)
    default = DISCUSSION if DISCUSSION.is_file() else None
    discussion = Path(args.discussion) if args.discussion else default
    paper = write_report(material, figures, discussion, is_default=not args.discussion)
    pages = to_pdf(paper.text, paper.figures, figures)
    for name, svg in paper.figures.items():
        with atomic_writer(out.parent / figures / name) as handle:
            handle.write(svg)
    write_text(out.with_suffix(".md"), paper.text)
    with atomic_writer(out) as handle:
        handle.write(pages)
    say(
        f"biLMs: {len(material.bilms)}, settings of classifiers: {len(material.classifiers)}, "
        f"learning curves: {len(material.learning_curves)}"
    )
    for section, reason in paper.left_out:
        say(f"left out: {section}: {reason}")
    say(f"wrote {out}, {out.with_suffix('.md')}, {out.parent / figures}")
    if args.keep:
        keep_material(material, Path(args.keep))
        say(f"wrote {args.keep}: the figures of the runs, without models and texts")


def _parser() -> argparse.ArgumentParser:
    parser = base.parser(
        "report",
        "Write a report of finished runs as PDF, and as Markdown with its figures beside it.\n"
        "Nothing is trained. Sections for which there are no runs are left out; the report lists\n"
        "them. Folders may also hold files of elmo probe, elmo noise -o and elmo tune.",
        "elmo report outputs -o report.pdf",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of runs or sweeps")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="report.pdf", help="default: report.pdf"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="corpus, by name or fingerprint, needed where the folders have runs on several",
    )
    parser.add_argument(
        "--discussion",
        metavar="FILE",
        help="Markdown to include if it was written on the same data (default: docs/discussion.md "
        "of the checkout)",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="new folder for the files that the report is made from, so that it can be made again: "
        "records, predictions of validation and test, curves; no models, no texts, no paths",
    )
    return parser
